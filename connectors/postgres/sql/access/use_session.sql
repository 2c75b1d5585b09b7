UPDATE access.sessions SET used_at = $2 WHERE session_id = $1 AND used_at < $2
