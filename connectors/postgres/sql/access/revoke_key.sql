UPDATE access.api_keys SET revoked_at = $2, revoked_by = $3, revoked_why = $4 WHERE prefix = $1 AND revoked_at IS NULL
