INSERT INTO access.sessions (session_id, token_hash, user_name, created_at, used_at, expires_at, address, agent)
VALUES ($1, $2, $3, $4, $4, $5, $6::inet, left($7, 300))
