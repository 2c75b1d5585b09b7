SELECT band_id, weekdays, start_minute, end_minute, dates, time_zone, weight
FROM office.bands WHERE removed_at IS NULL ORDER BY band_id
