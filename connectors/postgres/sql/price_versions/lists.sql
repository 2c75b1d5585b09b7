-- Price lists by id: what each is by its version in force at $1, else by its latest one.
SELECT l.price_list_id, l.kind, l.removed_at, n.name, n.provider_id, n.currency, f.number AS in_force,
       f.prices AS prices, f.in_force_from, s.number AS scheduled, s.in_force_from AS scheduled_from,
       n.number AS latest, n.state AS latest_state
FROM office.price_lists l
JOIN LATERAL (
    SELECT v.* FROM office.price_list_versions v
    WHERE v.price_list_id = l.price_list_id ORDER BY v.number DESC LIMIT 1
) n ON true
LEFT JOIN LATERAL (
    SELECT v.* FROM office.price_list_versions v
    WHERE v.price_list_id = l.price_list_id AND v.in_force_from <= $1 AND (v.state = 'published' OR v.ended_at > $1)
    ORDER BY v.in_force_from DESC, v.number DESC LIMIT 1
) f ON true
LEFT JOIN LATERAL (
    SELECT v.* FROM office.price_list_versions v
    WHERE v.price_list_id = l.price_list_id AND v.state = 'published' AND v.in_force_from > $1
    ORDER BY v.in_force_from, v.number LIMIT 1
) s ON true
WHERE l.price_list_id > $2 AND ($3::text IS NULL OR l.kind = $3)
ORDER BY l.price_list_id LIMIT $4
