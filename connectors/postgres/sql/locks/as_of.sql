-- Locks that a number's prefixes $1 ($2 is the whole number) and the account $3 found at the moment $4, as they were then.
-- A change counts since its own moment. A lock that was lifted and loaded again keeps its old date: it counts since the
-- engine was told of it again.
WITH candidates AS (
    SELECT DISTINCT lock_id FROM office.lock_history
    WHERE digits = ANY ($1) AND (account_id IS NULL OR account_id = $3)
)
SELECT was.lock_id, was.kind, was.digits, was.account_id, was.provider_id, was.author, was.reason, was.created_at
FROM candidates c CROSS JOIN LATERAL (
    SELECT h.* FROM (
        SELECT h.*, max(h.at) OVER (ORDER BY h.revision) AS latest
        FROM office.lock_history h WHERE h.lock_id = c.lock_id
    ) h
    WHERE $4 >= CASE WHEN h.action = 'set' AND h.revision > 1 THEN coalesce(
        (SELECT min(o.at) FROM plumbing.outbox o
         WHERE o.kind = 'lock' AND o.key = h.lock_id AND o.payload IS NOT NULL AND o.at >= h.latest),
        h.latest
    ) ELSE h.latest END
    ORDER BY h.revision DESC LIMIT 1
) was
WHERE was.action <> 'lifted' AND was.digits = ANY ($1) AND (was.kind = 'prefix' OR was.digits = $2)
  AND (was.account_id IS NULL OR was.account_id = $3)
ORDER BY was.lock_id
