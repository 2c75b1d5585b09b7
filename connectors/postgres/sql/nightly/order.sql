INSERT INTO office.nightly_orders (day, jobs, ordered_at, ordered_by, reason) VALUES ($1, $2, $3, $4, $5)
RETURNING order_id
