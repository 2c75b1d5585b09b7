-- The first change that may be published before others that are not ready: $1 those. It has locks, numbers and
-- commands alone, and none of them is, or names, what waits before it: their accounts and providers come first.
WITH unready AS (
    SELECT min(seq) AS first FROM plumbing.outbox WHERE published_at IS NULL AND change_id = ANY ($1::bigint[])
), candidates AS (
    SELECT o.change_id, min(o.seq) AS seq
    FROM plumbing.outbox o, unready
    WHERE o.published_at IS NULL AND o.seq > unready.first AND o.kind IN ('lock', 'number', 'command')
    GROUP BY o.change_id
), found AS (
    SELECT c.change_id
    FROM candidates c
    WHERE NOT EXISTS (
        SELECT FROM plumbing.outbox o
        WHERE o.change_id = c.change_id AND o.published_at IS NULL AND (
            o.kind NOT IN ('lock', 'number', 'command')
            OR EXISTS (
                SELECT FROM plumbing.outbox w
                WHERE w.published_at IS NULL AND w.seq < o.seq AND w.change_id <> o.change_id AND (
                    (w.kind = o.kind AND w.key = o.key)
                    OR (w.kind = 'account'
                        AND w.key = CASE o.kind WHEN 'command' THEN o.key ELSE o.payload ->> 'account_id' END)
                    OR (w.kind = 'provider' AND w.key = o.payload ->> 'provider_id')
                )
            )
        )
    )
    ORDER BY c.seq
    LIMIT 1
)
SELECT o.seq, o.change_id, o.at, o.author, o.kind, o.key, o.payload, NULL::timestamptz AS scheduled
FROM plumbing.outbox o JOIN found USING (change_id)
WHERE o.published_at IS NULL
ORDER BY o.seq
