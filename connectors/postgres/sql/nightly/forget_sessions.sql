-- $1 sessions that were over before, $2 at most
DELETE FROM access.sessions WHERE session_id IN (
    SELECT session_id FROM access.sessions WHERE expires_at < $1 ORDER BY expires_at LIMIT $2 FOR UPDATE SKIP LOCKED
)
