-- $1 order, $2 state, $3 now, $4 outcome
UPDATE office.nightly_orders SET state = $2, ended_at = $3, outcome = $4 WHERE order_id = $1 AND state = 'waiting'
