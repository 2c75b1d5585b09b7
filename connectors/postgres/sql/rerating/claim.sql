-- Takes work that is ordered and that nobody does; whoever was not heard of for so long ($3, seconds) is gone.
-- $1 the worker, $2 only this run (null: any)
UPDATE books.reratings SET worker = $1, beat_at = clock_timestamp(), failure = NULL
WHERE rerating_id = (
    SELECT rerating_id FROM books.reratings
    WHERE wanted IS NOT NULL AND (worker IS NULL OR beat_at < clock_timestamp() - $3 * interval '1 second')
      AND ($2::bigint IS NULL OR rerating_id = $2)
    ORDER BY rerating_id LIMIT 1 FOR UPDATE SKIP LOCKED
)
RETURNING rerating_id, wanted, wanted_by
