-- Orders work. $1 run, $2 which, $3 who, $4 when
UPDATE books.reratings SET
    wanted = $2, wanted_by = $3, worker = NULL, beat_at = NULL, stage = '', done = 0, total = 0, failure = NULL,
    ordered_at = CASE $2 WHEN 'post' THEN $4 ELSE ordered_at END,
    ordered_by = CASE $2 WHEN 'post' THEN $3 ELSE ordered_by END,
    back_at = CASE $2 WHEN 'roll_back' THEN $4 ELSE back_at END,
    back_by = CASE $2 WHEN 'roll_back' THEN $3 ELSE back_by END
WHERE rerating_id = $1
