DELETE FROM access.sessions WHERE expires_at < $1
