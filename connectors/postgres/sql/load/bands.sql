INSERT INTO office.bands (band_id, weekdays, start_minute, end_minute, dates, time_zone, weight)
SELECT band_id, weekdays, start_minute, end_minute, dates, time_zone, weight
FROM jsonb_to_recordset($1) AS r (
    band_id text, weekdays smallint[], start_minute smallint, end_minute smallint, dates text[], time_zone text,
    weight integer
)
ON CONFLICT (band_id) DO UPDATE SET
    weekdays = excluded.weekdays, start_minute = excluded.start_minute, end_minute = excluded.end_minute,
    dates = excluded.dates, time_zone = excluded.time_zone, weight = excluded.weight, removed_at = NULL
