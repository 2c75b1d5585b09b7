SELECT min(ends_at) FROM office.locks WHERE lifted_at IS NULL AND ends_at IS NOT NULL
