-- What is known of each job's nights up to $1: its first, its last that is done, those since the first that are not.
WITH seen AS (
    SELECT job, min(day) AS first, max(day) FILTER (WHERE state = 'done') AS last_done
    FROM office.nightly_runs GROUP BY job
)
SELECT
    job, first, last_done,
    ARRAY(
        SELECT night::date FROM generate_series(first, $1::date, '1 day') AS night
        WHERE NOT EXISTS (
            SELECT FROM office.nightly_runs AS r WHERE r.job = seen.job AND r.day = night::date AND r.state = 'done'
        )
        ORDER BY night
    ) AS missing
FROM seen
