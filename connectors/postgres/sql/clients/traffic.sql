-- $3: the business time zone, in which months are counted.
SELECT to_char(ended_at AT TIME ZONE $3, 'YYYY-MM') AS month, service, count(*) AS calls,
       coalesce(sum(billable_seconds), 0)::bigint AS seconds, coalesce(sum(retail_micros), 0)::bigint AS amount_micros
FROM facts.rated_cdrs
WHERE account_id = $1 AND ended_at >= $2
GROUP BY 1, 2
ORDER BY 1 DESC, 2
