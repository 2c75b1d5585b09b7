UPDATE access.sessions SET ended_at = $2, ended_why = $3 WHERE token_hash = $1 AND ended_at IS NULL
