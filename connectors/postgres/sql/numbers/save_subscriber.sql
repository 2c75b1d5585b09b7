INSERT INTO office.subscribers (
    subscriber_id, number, account_id, product, status, planned_on, reserved_at, reserved_on, rested, created_by,
    activated_at, closed_at, closed_by, closed_why, changed_at, changed_by, change_reason
) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)
