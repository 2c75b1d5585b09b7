INSERT INTO access.users (
    name, role, full_name, email, phone, status, password_hash, token_hash, token_expires_at, created_at, created_by
) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
ON CONFLICT (name) DO NOTHING
