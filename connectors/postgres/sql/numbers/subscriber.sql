SELECT subscriber_id, number, account_id, product, status, planned_on, reserved_at, reserved_on, rested, created_by,
    activated_at, closed_at, closed_by, closed_why
FROM office.subscribers WHERE subscriber_id = $1
