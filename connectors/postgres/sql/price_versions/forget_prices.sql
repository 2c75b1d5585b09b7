DELETE FROM office.prices WHERE version_id = $1
