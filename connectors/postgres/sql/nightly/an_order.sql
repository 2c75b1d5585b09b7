SELECT order_id, day, jobs, state, ordered_at, ordered_by, reason, ended_at, outcome
FROM office.nightly_orders WHERE order_id = $1
