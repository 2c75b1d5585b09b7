SELECT band_id, weekdays, start_minute, end_minute, dates, time_zone, weight
FROM office.bands WHERE removed_at IS NULL AND band_id > $1
ORDER BY band_id LIMIT $2
