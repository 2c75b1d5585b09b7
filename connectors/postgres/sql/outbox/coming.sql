-- Versions of price lists that come into force next, all at one moment: after $1, and not after $2. A list whose provider
-- or bands still wait to be published is not among them.
WITH later AS (
    SELECT o.seq, v.price_list_id, v.version_id, v.in_force_from
    FROM plumbing.outbox o
    JOIN office.price_list_versions v ON v.version_id = (o.payload ->> 'version_id')::bigint
    WHERE o.published_at IS NULL AND o.kind = 'price_list' AND v.state = 'published'
      AND v.in_force_from > $1 AND v.in_force_from <= $2
)
SELECT l.price_list_id, l.version_id, l.in_force_from
FROM later l
WHERE l.in_force_from = (SELECT min(in_force_from) FROM later)
  AND NOT EXISTS (
      SELECT FROM plumbing.outbox b
      WHERE b.published_at IS NULL AND b.seq < l.seq AND b.kind NOT IN ('price_list', 'command', 'event', 'lock', 'number')
  )
ORDER BY l.seq
