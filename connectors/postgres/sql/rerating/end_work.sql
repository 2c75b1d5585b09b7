-- The work is over. $1 run, $2 worker, $3 why it was not done (null: it was)
UPDATE books.reratings SET wanted = NULL, wanted_by = NULL, worker = NULL, stage = '', failure = $3
WHERE rerating_id = $1 AND worker = $2
