-- How much waits, and the oldest of it; beside it the versions of price lists that come into force after $1.
SELECT count(*) FILTER (WHERE NOT w.later) AS waiting, min(w.at) FILTER (WHERE NOT w.later) AS oldest,
       count(*) FILTER (WHERE w.later) AS later
FROM (
    SELECT o.at, v.version_id IS NOT NULL AS later
    FROM plumbing.outbox o
    LEFT JOIN office.price_list_versions v
        ON o.kind = 'price_list' AND v.version_id = (o.payload ->> 'version_id')::bigint AND v.state = 'published'
        AND v.in_force_from > $1
    WHERE o.published_at IS NULL
) w
