-- How many longer prefixes of $2 the versions $1 have, at most $3 of each.
SELECT v.price_list_id,
       (SELECT count(*)::int FROM (
            SELECT DISTINCT p.prefix FROM office.prices p
            WHERE p.version_id = v.version_id AND p.prefix > $2 AND p.prefix < $2 || ':'
            LIMIT $3
        ) longer) AS prefixes
FROM office.price_list_versions v WHERE v.version_id = ANY ($1)
