-- Calls that switches carried without a permission to the numbers of a lock; arguments as of rehearse.sql, without services
-- that locks do not know.
SELECT count(*) FROM facts.rated_cdrs c
WHERE c.called >= $1 AND c.called < $2 AND ($3 = 'prefix' OR c.called = $1) AND c.service = ANY ($8)
  AND ($4::text IS NULL OR c.account_id = $4) AND ($5::text IS NULL OR c.provider_id = $5)
  AND c.started_at >= $6 AND c.started_at < $7 AND c.ended_at >= $6
  AND (c.no_attempt OR c.denied) AND NOT c.emergency AND c.copy = 0
