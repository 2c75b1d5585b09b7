-- The lines of the uploaded file that prices of these prefixes stand on, the first hundred of each.
SELECT prefix, (array_agg(line ORDER BY line))[1:100] AS lines
FROM office.prices WHERE version_id = $1 AND prefix = ANY ($2) AND line IS NOT NULL
GROUP BY prefix
