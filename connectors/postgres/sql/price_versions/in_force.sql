SELECT * FROM office.versions_seen
WHERE price_list_id = $1 AND in_force_from <= $2 AND (state = 'published' OR ended_at > $2)
ORDER BY in_force_from DESC, number DESC LIMIT 1
