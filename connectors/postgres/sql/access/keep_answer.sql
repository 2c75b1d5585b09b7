INSERT INTO plumbing.idempotency_keys (user_id, key, request_hash, at, status, response, headers)
VALUES ($1, $2, $3, $4, $5, $6, $7)
