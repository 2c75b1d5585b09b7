-- What waits, in the order of the commits: $2 rows, or the first change, which is there whole. Versions of price lists
-- that are to come into force after $1 wait for their moment; `scheduled` is that moment, where it was later than the
-- change.
WITH due AS (
    SELECT o.seq, o.change_id, o.at, o.author, o.kind, o.key, o.payload
    FROM plumbing.outbox o
    WHERE o.published_at IS NULL AND NOT (
        o.kind = 'price_list' AND o.payload IS NOT NULL AND EXISTS (
            SELECT FROM office.price_list_versions v
            WHERE v.version_id = (o.payload ->> 'version_id')::bigint AND v.state = 'published' AND v.in_force_from > $1
        )
    )
    ORDER BY o.seq LIMIT $2
), first AS (
    SELECT change_id FROM due ORDER BY seq LIMIT 1
)
SELECT w.seq, w.change_id, w.at, w.author, w.kind, w.key, w.payload,
       CASE WHEN v.in_force_from > w.at THEN v.in_force_from END AS scheduled
FROM (
SELECT seq, change_id, at, author, kind, key, payload FROM due
UNION
SELECT o.seq, o.change_id, o.at, o.author, o.kind, o.key, o.payload
FROM plumbing.outbox o JOIN first USING (change_id)
WHERE o.published_at IS NULL AND o.kind <> 'price_list'
UNION
SELECT o.seq, o.change_id, o.at, o.author, o.kind, o.key, o.payload
FROM plumbing.outbox o JOIN first USING (change_id)
LEFT JOIN office.price_list_versions v
    ON v.version_id = (o.payload ->> 'version_id')::bigint AND v.state = 'published' AND v.in_force_from > $1
WHERE o.published_at IS NULL AND o.kind = 'price_list' AND v.version_id IS NULL
) w
LEFT JOIN office.price_list_versions v
    ON w.kind = 'price_list' AND v.version_id = (w.payload ->> 'version_id')::bigint AND v.state = 'published'
ORDER BY w.seq
