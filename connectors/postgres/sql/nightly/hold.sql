-- A run's row for a step of an attempt, kept until the step is committed; no row: somebody else has taken the run.
-- $1 night, $2 job, $3 attempt
SELECT steps, place, report FROM office.nightly_runs
WHERE day = $1 AND job = $2 AND attempt = $3 AND state = 'running'
FOR UPDATE
