SELECT request_id, number, state, department, desk, asked_at, asked_on, asked_by, reason, calls, unique_callers,
    criterion, client_id, copy_to, told_callers, consent, decided_at, decided_by, decision, decided_callers, ended_at
FROM office.number_requests WHERE request_id = $1
