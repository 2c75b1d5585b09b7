(SELECT DISTINCT 'price list ' || v.price_list_id
 FROM office.price_list_versions v JOIN office.price_lists l ON l.price_list_id = v.price_list_id
 WHERE v.provider_id = $1 AND v.state IN ('staged', 'published') AND l.removed_at IS NULL LIMIT 5)
UNION ALL
(SELECT 'lock ' || lock_id FROM office.locks WHERE provider_id = $1 AND lifted_at IS NULL LIMIT 5)
UNION ALL
(SELECT 'number ' || number FROM office.numbers WHERE provider_id = $1 AND removed_at IS NULL LIMIT 5)
