SELECT lock_id, kind, digits, account_id, provider_id, author, reason, created_at
FROM office.locks WHERE lifted_at IS NULL ORDER BY lock_id
