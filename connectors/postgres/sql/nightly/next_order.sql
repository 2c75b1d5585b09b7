SELECT order_id, day, jobs, ordered_by FROM office.nightly_orders WHERE state = 'waiting' ORDER BY order_id LIMIT 1
