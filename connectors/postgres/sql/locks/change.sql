SELECT lock_id, kind, digits, account_id, provider_id, author, reason, created_at, ends_at, lifted_at, lifted_by, lift_reason,
       revision, changed_at, changed_by, change_reason
FROM office.change_lock($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
