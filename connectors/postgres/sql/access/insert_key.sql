INSERT INTO access.api_keys (prefix, secret_hash, user_name, purpose, scopes, created_at, created_by, expires_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
