UPDATE office.price_list_versions SET state = $2, ended_at = $3, ended_by = $4, ended_why = $5 WHERE version_id = $1
