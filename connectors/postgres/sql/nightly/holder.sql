-- Which run is under way, for whoever waits. No row: none is noted yet.
SELECT day, job, host, process, started_by, started_at FROM office.nightly_runs
WHERE state = 'running' ORDER BY started_at DESC LIMIT 1
