-- $1 run, $2 the state that it comes to, $3 when, $4 by whom
UPDATE books.reratings SET
    state = $2,
    previewed_at = CASE $2 WHEN 'previewed' THEN $3 WHEN 'draft' THEN NULL ELSE previewed_at END,
    previewed_by = CASE $2 WHEN 'previewed' THEN $4 WHEN 'draft' THEN NULL ELSE previewed_by END,
    fingerprint = CASE $2 WHEN 'draft' THEN NULL ELSE fingerprint END,
    summary = CASE $2 WHEN 'draft' THEN NULL ELSE summary END,
    approved_at = CASE $2 WHEN 'approved' THEN $3 WHEN 'draft' THEN NULL ELSE approved_at END,
    approved_by = CASE $2 WHEN 'approved' THEN $4 WHEN 'draft' THEN NULL ELSE approved_by END,
    posted_at = CASE $2 WHEN 'posted' THEN $3 ELSE posted_at END,
    rolled_back_at = CASE $2 WHEN 'rolled_back' THEN $3 ELSE rolled_back_at END,
    cancelled_at = CASE $2 WHEN 'cancelled' THEN $3 ELSE cancelled_at END,
    cancelled_by = CASE $2 WHEN 'cancelled' THEN $4 ELSE cancelled_by END,
    wanted = CASE WHEN $2 IN ('cancelled', 'draft') THEN NULL ELSE wanted END,
    wanted_by = CASE WHEN $2 IN ('cancelled', 'draft') THEN NULL ELSE wanted_by END,
    worker = CASE WHEN $2 IN ('cancelled', 'draft') THEN NULL ELSE worker END
WHERE rerating_id = $1
