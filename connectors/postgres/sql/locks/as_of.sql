-- Locks that a number's prefixes $1 ($2 is the whole number) and the account $3 found at the moment $4, as they were was.
-- A change counts since its own moment, but never before the change that it follows: a lock that was loaded again under
-- its old date was not in force while it was lifted.
WITH candidates AS (
    SELECT DISTINCT lock_id FROM office.lock_history
    WHERE digits = ANY ($1) AND (account_id IS NULL OR account_id = $3)
)
SELECT was.lock_id, was.kind, was.digits, was.account_id, was.provider_id, was.author, was.reason, was.created_at
FROM candidates c CROSS JOIN LATERAL (
    SELECT changes.* FROM (
        SELECT h.*, max(h.at) OVER (ORDER BY h.revision) AS since FROM office.lock_history h WHERE h.lock_id = c.lock_id
    ) changes
    WHERE changes.since <= $4 ORDER BY changes.revision DESC LIMIT 1
) AS was
WHERE was.action <> 'lifted' AND was.digits = ANY ($1) AND (was.kind = 'prefix' OR was.digits = $2)
  AND (was.account_id IS NULL OR was.account_id = $3)
ORDER BY was.lock_id
