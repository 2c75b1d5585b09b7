-- Lists whose version in force, or one that is coming or being worked on, has prices limited to the band.
SELECT DISTINCT 'price list ' || v.price_list_id
FROM office.prices p
JOIN office.price_list_versions v ON v.version_id = p.version_id
JOIN office.price_lists l ON l.price_list_id = v.price_list_id AND l.removed_at IS NULL
WHERE p.band_id = $1
  AND (
    v.state = 'staged'
    OR v.state = 'published' AND (
        v.in_force_from > $2
        OR NOT EXISTS (
            SELECT FROM office.price_list_versions later
            WHERE later.price_list_id = v.price_list_id AND later.state = 'published' AND later.in_force_from <= $2
              AND (later.in_force_from, later.number) > (v.in_force_from, v.number)
        )
    )
  )
LIMIT 5
