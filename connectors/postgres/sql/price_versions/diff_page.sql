-- The prices that differ between versions $1 and $2 for calls of the moment $3: of the kinds $4, below the prefix $5.
SELECT * FROM office.price_difference($1, $2, $3)
WHERE kind = ANY ($4) AND prefix >= $5 AND prefix < $5 || ':'
ORDER BY prefix, from_second, service, place, incoming_service, band_id
OFFSET $6 LIMIT $7
