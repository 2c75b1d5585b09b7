-- Locks in force whose digits are among $1.
SELECT lock_id, kind, digits, account_id, provider_id, author, reason, created_at, ends_at, lifted_at, lifted_by, lift_reason,
       revision, changed_at, changed_by, change_reason
FROM office.locks WHERE lifted_at IS NULL AND digits = ANY ($1) ORDER BY created_at, lock_id
