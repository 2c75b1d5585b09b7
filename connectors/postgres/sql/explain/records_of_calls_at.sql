-- What some calls can find of it under reference version $1: $2 are their accounts, $3 the numbers, $4 the numbers'
-- prefixes, the numbers themselves among them.
SELECT DISTINCT ON (kind, key) kind, key, payload
FROM (
    SELECT kind, key, payload, reference_version, seq FROM plumbing.outbox
    WHERE kind IN ('provider', 'tariff_plan', 'price_list', 'band')
    UNION ALL
    SELECT kind, key, payload, reference_version, seq FROM plumbing.outbox
    WHERE kind IN ('account', 'discounts') AND key = ANY ($2)
    UNION ALL
    SELECT kind, key, payload, reference_version, seq FROM plumbing.outbox
    WHERE kind = 'number' AND key = ANY ($3)
    UNION ALL
    -- A lock may have covered other numbers before it was changed.
    SELECT kind, key, payload, reference_version, seq FROM plumbing.outbox
    WHERE kind = 'lock' AND key IN (
        SELECT l.key FROM plumbing.outbox l WHERE l.kind = 'lock' AND l.payload ->> 'digits' = ANY ($4)
    )
) o
WHERE reference_version <= $1
ORDER BY kind, key, reference_version DESC, seq DESC
