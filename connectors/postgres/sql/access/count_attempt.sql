WITH old AS (
    DELETE FROM access.failed_logins WHERE subject IN (
        SELECT subject FROM access.failed_logins
        WHERE last_at < $2::timestamptz - interval '24 hours' AND subject <> $1
        LIMIT 20 FOR UPDATE SKIP LOCKED
    )
)
INSERT INTO access.failed_logins AS f (subject, failures, last_at, wait_until) VALUES ($1, 1, $2, $2)
ON CONFLICT (subject) DO UPDATE
SET failures = CASE WHEN f.last_at < $2::timestamptz - interval '24 hours' THEN 1 ELSE f.failures + 1 END, last_at = $2
RETURNING failures
