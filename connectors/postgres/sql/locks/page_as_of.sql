-- As page.sql, of the moment $13: locks as they were then, and how many there are in all. A row without a lock carries the
-- count alone. Which change counts since when: see as_of.sql; that question has no digits to find its locks by here.
WITH counted AS (
    SELECT h.*, max(h.at) OVER (PARTITION BY h.lock_id ORDER BY h.revision) AS latest FROM office.lock_history h
), was AS (
    SELECT DISTINCT ON (h.lock_id) h.lock_id, h.kind, h.digits, h.account_id, h.provider_id, h.author, h.reason,
           h.created_at, h.ends_at,
           CASE WHEN h.action = 'lifted' THEN h.lifted_at END AS lifted_at,
           CASE WHEN h.action = 'lifted' THEN h.actor END AS lifted_by,
           CASE WHEN h.action = 'lifted' THEN h.why END AS lift_reason,
           h.revision, h.at AS changed_at, h.actor AS changed_by, h.why AS change_reason
    FROM counted h
    WHERE $13 >= CASE WHEN h.action = 'set' AND h.revision > 1 THEN coalesce(
        (SELECT min(o.at) FROM plumbing.outbox o
         WHERE o.kind = 'lock' AND o.key = h.lock_id AND o.payload IS NOT NULL AND o.at >= h.latest),
        h.latest
    ) ELSE h.latest END
    ORDER BY h.lock_id, h.revision DESC
), wanted AS (
    SELECT l.* FROM was l
    WHERE ($1::text IS NULL OR (l.lifted_at IS NULL) = ($1 = 'in_force'))
      AND ($2::text IS NULL OR (l.account_id IS NULL) = ($2 = 'global'))
      AND ($3::text IS NULL OR l.account_id = $3)
      AND ($4::text IS NULL OR l.provider_id = $4)
      AND ($5::text IS NULL OR l.author = $5)
      AND ($6::text IS NULL OR (l.digits >= $6 AND l.digits < $6 || ':'))
      AND ($7::text[] IS NULL OR l.digits = ANY ($7))
      AND ($8::text IS NULL OR l.kind = 'prefix' OR l.digits = $8)
      AND ($9::text IS NULL OR strpos(lower(l.reason), lower($9)) > 0)
)
SELECT counts.total, page.*
FROM (SELECT count(*) AS total FROM wanted) counts
LEFT JOIN LATERAL (
    SELECT * FROM wanted l
    WHERE $10::timestamptz IS NULL OR (l.created_at, l.lock_id) < ($10, $11::text COLLATE "C")
    ORDER BY l.created_at DESC, l.lock_id DESC
    LIMIT $12
) page ON true
ORDER BY page.created_at DESC, page.lock_id DESC
