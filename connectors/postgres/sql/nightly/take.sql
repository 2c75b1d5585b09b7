-- Begins a run, or takes up one that was begun. One that had got somewhere goes on from there; no row: it is done.
-- $1 night, $2 job, $3 now, $4 by whom, $5 host, $6 process, $7 an empty report
INSERT INTO office.nightly_runs AS r
    (day, job, state, attempt, report, started_at, stepped_at, started_by, host, process)
VALUES ($1, $2, 'running', 1, $7, $3, $3, $4, $5, $6)
ON CONFLICT (day, job) DO UPDATE SET
    state = 'running', attempt = r.attempt + 1,
    steps = CASE WHEN r.place IS NULL THEN 0 ELSE r.steps END,
    report = CASE WHEN r.place IS NULL THEN excluded.report ELSE r.report END,
    error = NULL, started_at = excluded.started_at, stepped_at = excluded.stepped_at, ended_at = NULL,
    started_by = excluded.started_by, host = excluded.host, process = excluded.process
WHERE r.state <> 'done'
RETURNING attempt, steps, place, report
