-- Calls and movements that were taken more than once. $1 from when on, $2 at most so many
(
    SELECT 'rated_cdr' AS cause, cdr_id AS cause_id, account_id, count(*) AS times,
        sum(coalesce(retail_micros, 0))::bigint AS moved_micros
    FROM facts.rated_cdrs WHERE ended_at >= $1 GROUP BY cdr_id, account_id HAVING count(*) > 1 LIMIT $2
)
UNION ALL
(
    SELECT kind, cause_id, account_id, count(*), sum(amount_micros)::bigint
    FROM facts.movements WHERE at >= $1 GROUP BY kind, cause_id, account_id HAVING count(*) > 1 LIMIT $2
)
