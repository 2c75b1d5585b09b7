-- The worker goes and leaves the work as it is, for another one. $1 run, $2 worker
UPDATE books.reratings SET worker = NULL, beat_at = NULL WHERE rerating_id = $1 AND worker = $2
