-- How many calls `past_calls` has where it takes each of them.
SELECT count(*) FROM facts.rated_cdrs r
WHERE r.ended_at >= $1 AND r.ended_at < $2 AND r.copy = 0 AND NOT r.emergency AND r.account_id IS NOT NULL
  AND ($3::text IS NULL OR r.provider_id = $3)
  AND ($4::text[] IS NULL OR r.account_id IN (
        SELECT c.account_id FROM office.accounts c WHERE c.tariff_plan_id = ANY ($4)))
