UPDATE access.users SET token_hash = $2, token_expires_at = $3 WHERE name = $1
