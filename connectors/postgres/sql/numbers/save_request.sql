INSERT INTO office.number_requests AS r (
    request_id, number, state, department, desk, asked_at, asked_on, asked_by, reason, calls, unique_callers, criterion,
    client_id, copy_to, told_callers, consent, decided_at, decided_by, decision, decided_callers
) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20)
