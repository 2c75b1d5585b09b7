UPDATE office.number_requests SET ended_at = $2 WHERE number = $1 AND state = 'approved' AND ended_at IS NULL
RETURNING criterion
