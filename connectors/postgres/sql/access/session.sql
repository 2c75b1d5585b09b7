SELECT s.session_id, s.used_at, s.expires_at, u.name, u.role
FROM access.sessions s JOIN access.users u ON u.name = s.user_name
WHERE s.token_hash = $1 AND s.ended_at IS NULL AND s.expires_at > $2 AND s.used_at > $3 AND u.status = 'active'
