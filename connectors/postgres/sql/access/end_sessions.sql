UPDATE access.sessions SET ended_at = $2, ended_why = $3 WHERE user_name = $1 AND ended_at IS NULL
