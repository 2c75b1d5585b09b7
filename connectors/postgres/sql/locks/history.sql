SELECT lock_id, revision, action, at, actor, acted_as, why, kind, digits, account_id, provider_id, author, reason,
       created_at, ends_at, lifted_at
FROM office.lock_history WHERE lock_id = ANY ($1) ORDER BY lock_id, revision
