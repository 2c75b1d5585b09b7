SELECT * FROM office.versions_seen
WHERE price_list_id = $1 AND state = 'published' AND (in_force_from, number) < ($2, $3)
ORDER BY in_force_from DESC, number DESC LIMIT 1
