SELECT band_id FROM office.bands WHERE removed_at IS NULL
