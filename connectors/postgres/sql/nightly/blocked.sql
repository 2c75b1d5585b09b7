-- A run that waits for another. How far it had come stays. $1 night, $2 job, $3 why, $4 now, $5 by whom, $6 host,
-- $7 process, $8 an empty report
INSERT INTO office.nightly_runs AS r
    (day, job, state, attempt, report, error, started_at, stepped_at, ended_at, started_by, host, process)
VALUES ($1, $2, 'blocked', 1, $8, $3, $4, $4, $4, $5, $6, $7)
ON CONFLICT (day, job) DO UPDATE SET
    state = 'blocked', attempt = r.attempt + 1, error = excluded.error, ended_at = excluded.ended_at,
    started_by = excluded.started_by, host = excluded.host, process = excluded.process
WHERE r.state <> 'done'
