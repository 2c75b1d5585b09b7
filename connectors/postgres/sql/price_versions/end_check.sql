UPDATE office.price_checks SET state = $2, result = $3, failure = $4, ended_at = $5, beat_at = now(), stage = ''
WHERE check_id = $1 AND state = 'running'
