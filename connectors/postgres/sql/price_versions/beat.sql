UPDATE office.price_checks SET stage = $2, done = $3, total = $4, beat_at = now() WHERE check_id = $1 AND state = 'running'
