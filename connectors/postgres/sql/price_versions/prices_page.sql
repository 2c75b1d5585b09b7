-- Rows of a version whose prefix begins with $2, from the $3rd on.
SELECT prefix, service, place, incoming_service, band_id, from_second, connect_fee_micros, price_micros, per_seconds,
       step_seconds, min_charge_micros, max_charge_micros, valid_from, valid_to, attempt_fee_micros, line
FROM office.prices
WHERE version_id = $1 AND prefix >= $2 AND prefix < $2 || ':'
ORDER BY prefix, from_second, service NULLS FIRST, place NULLS FIRST, incoming_service NULLS FIRST,
         band_id NULLS FIRST, valid_from NULLS FIRST, valid_to NULLS FIRST
OFFSET $3 LIMIT $4
