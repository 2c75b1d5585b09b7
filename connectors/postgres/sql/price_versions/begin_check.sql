-- Begins a check, unless one of its kind is under way for the version: then that one.
WITH running AS (
    SELECT check_id FROM office.price_checks
    WHERE version_id = $1 AND kind = $2 AND state = 'running' AND beat_at > now() - interval '1 minute'
    ORDER BY check_id DESC LIMIT 1
), begun AS (
    INSERT INTO office.price_checks (version_id, kind, at, asked_at, asked_by, parameters)
    SELECT $1, $2, $3, $4, $5, $6 WHERE NOT EXISTS (SELECT FROM running)
    RETURNING check_id
)
SELECT check_id, true AS begun FROM begun UNION ALL SELECT check_id, false FROM running
