-- Runs, the latest night first. $1 since, $2 until, $3 job, $4 state, $5 and $6 behind which night and job, $7 at most
SELECT day, job, state, attempt, steps, report, error, started_at, stepped_at, ended_at, started_by, host, process
FROM office.nightly_runs
WHERE ($1::date IS NULL OR day >= $1) AND ($2::date IS NULL OR day <= $2) AND ($3::text IS NULL OR job = $3)
  AND ($4::text IS NULL OR state = $4)
  AND ($5::date IS NULL OR day < $5 OR (day = $5 AND job > $6))
ORDER BY day DESC, job
LIMIT $7
