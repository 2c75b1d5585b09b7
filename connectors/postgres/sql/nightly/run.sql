SELECT day, job, state, attempt, steps, report, error, started_at, stepped_at, ended_at, started_by, host, process
FROM office.nightly_runs WHERE day = $1 AND job = $2
