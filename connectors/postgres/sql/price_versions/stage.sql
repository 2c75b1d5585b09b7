-- A version without its prices, which follow by COPY.
INSERT INTO office.price_list_versions (
    price_list_id, kind, number, name, provider_id, currency, rounding, decimals, valid_from, valid_to, source,
    created_at, created_by, restores
)
SELECT $1::text, $2, coalesce(max(number), 0) + 1, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13
FROM office.price_list_versions WHERE price_list_id = $1::text
RETURNING version_id, number
