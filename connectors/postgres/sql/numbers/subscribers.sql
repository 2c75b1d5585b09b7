-- Subscribers, the newest first, of a status $1, an account $2, a number $3, an answer of $6 rows behind ($4, $5)
SELECT subscriber_id, number, account_id, product, status, planned_on, reserved_at, reserved_on, rested, created_by,
    activated_at, closed_at, closed_by, closed_why
FROM office.subscribers
WHERE ($1::text IS NULL OR status = $1) AND ($2::text IS NULL OR account_id = $2) AND ($3::text IS NULL OR number = $3)
  AND ($4::timestamptz IS NULL OR (reserved_at, subscriber_id) < ($4, $5::text))
ORDER BY reserved_at DESC, subscriber_id DESC LIMIT $6
