SELECT band_id, weekdays, start_minute, end_minute, dates, time_zone, weight FROM office.bands WHERE band_id = $1 AND removed_at IS NULL
FOR NO KEY UPDATE
