-- Terms of versions of price lists: $1 are their ids.
SELECT version_id, price_list_id, name, kind, provider_id, currency, rounding, decimals, valid_from, valid_to
FROM office.price_list_versions WHERE version_id = ANY ($1)
