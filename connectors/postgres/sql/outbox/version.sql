SELECT price_list_id, name, kind, provider_id, currency, rounding, decimals, valid_from, valid_to
FROM office.price_list_versions
WHERE version_id = $1 AND (state = 'published' OR (state = 'withdrawn' AND ended_at > in_force_from))
