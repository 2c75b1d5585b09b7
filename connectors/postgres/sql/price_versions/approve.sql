UPDATE office.price_list_versions SET approved_at = $2, approved_by = $3 WHERE version_id = $1 AND state = 'staged'
