SELECT name, role, full_name, email, phone, status, password_hash, token_hash, token_expires_at, created_at, created_by
FROM access.users WHERE name = $1
FOR UPDATE
