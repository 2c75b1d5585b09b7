-- Of each job: its last night that is done, and its last one at all with what became of it.
SELECT DISTINCT ON (job)
    job, day, state, (SELECT max(d.day) FROM office.nightly_runs d WHERE d.job = r.job AND d.state = 'done') AS last_done
FROM office.nightly_runs r
ORDER BY job, day DESC
