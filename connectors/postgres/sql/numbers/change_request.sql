UPDATE office.number_requests SET
    state = $2, desk = $3, criterion = $4, client_id = $5, copy_to = $6, told_callers = $7, consent = $8,
    decided_at = $9, decided_by = $10, decision = $11, decided_callers = $12
WHERE request_id = $1
