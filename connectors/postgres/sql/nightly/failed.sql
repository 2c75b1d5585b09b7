-- A run whose step was undone by an error. $1 night, $2 job, $3 attempt, $4 error, $5 now
UPDATE office.nightly_runs SET state = 'failed', error = $4, ended_at = $5
WHERE day = $1 AND job = $2 AND attempt = $3 AND state = 'running'
