UPDATE access.users SET password_hash = $2, password_at = $3, token_hash = NULL, token_expires_at = NULL WHERE name = $1
