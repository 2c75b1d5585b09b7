-- Locks that may cover a number: $1 are its prefixes and the number itself, $2 the account, $3 the moment.
SELECT lock_id, kind, digits, account_id, provider_id, author, reason, created_at
FROM office.locks
WHERE digits = ANY ($1) AND (account_id IS NULL OR account_id = $2)
  AND created_at <= $3 AND (lifted_at IS NULL OR lifted_at > $3)
ORDER BY lock_id
