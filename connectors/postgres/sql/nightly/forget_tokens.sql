-- $1 now, $2 at most
WITH expired AS (
    SELECT name, token_expires_at FROM access.users WHERE token_expires_at < $1
    ORDER BY token_expires_at LIMIT $2 FOR UPDATE SKIP LOCKED
)
UPDATE access.users u SET token_hash = NULL, token_expires_at = NULL
FROM expired WHERE u.name = expired.name
RETURNING u.name, expired.token_expires_at
