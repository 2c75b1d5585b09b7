UPDATE office.price_list_versions SET prices = $2, digest = $3, reading = $4 WHERE version_id = $1 AND state = 'staged'
