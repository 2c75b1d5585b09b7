SELECT l.price_list_id, v.kind
FROM office.price_lists l
CROSS JOIN LATERAL (
    SELECT kind FROM office.price_list_versions
    WHERE price_list_id = l.price_list_id AND state = 'published' AND in_force_from <= $1
    ORDER BY in_force_from DESC, number DESC LIMIT 1
) v
WHERE l.removed_at IS NULL
FOR SHARE OF l
