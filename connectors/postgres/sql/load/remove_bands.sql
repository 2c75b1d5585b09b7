UPDATE office.bands SET removed_at = $2 WHERE band_id = ANY ($1)
