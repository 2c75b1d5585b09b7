-- Each day from $2 to $3, the latest first: the unwanted calls to the number $1, and whether statistics of the day exist
SELECT d.day::date AS day, coalesce(n.calls, 0) AS calls, coalesce(n.unique_callers, 0) AS unique_callers,
    n.first_at, n.last_at, c.day IS NOT NULL AS closed,
    c.day IS NOT NULL OR EXISTS (SELECT FROM facts.ncv o WHERE o.day = d.day::date) AS collected
FROM generate_series($2::date, $3::date, interval '1 day') AS d (day)
LEFT JOIN facts.ncv n ON n.number = $1 AND n.day = d.day::date
LEFT JOIN office.ncv_days c ON c.day = d.day::date
ORDER BY d.day DESC
