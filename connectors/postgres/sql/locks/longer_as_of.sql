-- As longer.sql, of the moment $4: locks as they were then. Which change counts since when: see as_of.sql.
WITH candidates AS (
    SELECT DISTINCT lock_id FROM office.lock_history
    WHERE digits > $1 AND digits < $1 || ':' AND (account_id IS NULL OR account_id = $2)
)
SELECT was.lock_id, was.kind, was.digits, was.account_id, was.provider_id, was.author, was.reason, was.created_at,
       count(*) OVER () AS total
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
WHERE was.action <> 'lifted' AND was.digits > $1 AND was.digits < $1 || ':'
  AND (was.account_id IS NULL OR was.account_id = $2)
ORDER BY length(was.digits), was.digits, was.lock_id
LIMIT $3
