-- The version of each list that is in force at $1.
SELECT DISTINCT ON (price_list_id)
       version_id, digest, price_list_id, name, kind, provider_id, currency, rounding, decimals, valid_from, valid_to
FROM office.price_list_versions
WHERE in_force_from <= $1 AND (state = 'published' OR ended_at > $1)
ORDER BY price_list_id, in_force_from DESC, number DESC
