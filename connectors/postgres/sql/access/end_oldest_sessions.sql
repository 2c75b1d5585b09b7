UPDATE access.sessions SET ended_at = $2, ended_why = 'too many at once'
WHERE session_id IN (
    SELECT session_id FROM access.sessions WHERE user_name = $1 AND ended_at IS NULL AND expires_at > $2
    ORDER BY created_at DESC, session_id OFFSET $3
)
