-- Says where the work stands. $1 run, $2 worker, $3 stage, $4 done, $5 of how many
UPDATE books.reratings SET stage = $3, done = $4, total = $5, beat_at = clock_timestamp()
WHERE rerating_id = $1 AND worker = $2
