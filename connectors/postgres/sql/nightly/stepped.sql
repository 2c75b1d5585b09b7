-- How far a run has come with a step, in the step's own transaction.
-- $1 night, $2 job, $3 state, $4 place, $5 report, $6 error, $7 now, $8 when it ended
UPDATE office.nightly_runs
SET state = $3, steps = steps + 1, place = $4, report = $5, error = $6, stepped_at = $7, ended_at = $8
WHERE day = $1 AND job = $2
