SELECT request_hash, status, response, headers FROM plumbing.idempotency_keys WHERE user_id = $1 AND key = $2
