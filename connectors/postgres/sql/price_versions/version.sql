SELECT * FROM office.versions_seen
WHERE price_list_id = $1 AND number = $2
