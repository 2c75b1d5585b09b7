SELECT prefix, user_name AS "user", purpose, scopes, created_at, created_by, expires_at, used_at, revoked_at, revoked_by,
       revoked_why
FROM access.api_keys WHERE prefix = $1
