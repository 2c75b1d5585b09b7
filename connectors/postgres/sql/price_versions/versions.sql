SELECT * FROM office.versions_seen
WHERE price_list_id = $1 AND ($2::int IS NULL OR number < $2)
ORDER BY number DESC LIMIT $3
