SELECT * FROM office.versions_seen
WHERE price_list_id = $1 ORDER BY number DESC LIMIT 1
