WITH published AS (
    UPDATE office.price_list_versions
    SET state = 'published', in_force_from = $2, published_at = $3, published_by = $4
    WHERE version_id = $1 AND state = 'staged'
    RETURNING price_list_id
)
UPDATE office.price_lists l SET removed_at = NULL
FROM published p WHERE l.price_list_id = p.price_list_id
RETURNING l.price_list_id
