-- How many calls of each service a run looks at. $1, $2 when they ended, $3 account, $4 prefix (null: any)
SELECT service, count(*) AS calls FROM facts.rated_cdrs
WHERE ended_at >= $1 AND ended_at < $2 AND ($3::text IS NULL OR account_id = $3)
  AND ($4::text IS NULL OR starts_with(called, $4))
GROUP BY service ORDER BY service
