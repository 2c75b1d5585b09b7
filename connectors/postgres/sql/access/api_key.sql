SELECT k.prefix, k.secret_hash, k.scopes, k.expires_at, k.used_at, u.name, u.role
FROM access.api_keys k JOIN access.users u ON u.name = k.user_name
WHERE k.prefix = $1 AND k.revoked_at IS NULL AND u.status = 'active'
