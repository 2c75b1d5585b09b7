-- All prices that a number may find: $1 are versions of price lists, $2 the number's prefixes, the empty one too.
SELECT v.price_list_id, p.prefix, p.service, p.place, p.incoming_service, p.band_id, p.from_second,
       p.connect_fee_micros, p.price_micros, p.per_seconds, p.step_seconds, p.min_charge_micros, p.max_charge_micros,
       p.valid_from, p.valid_to, p.attempt_fee_micros
FROM office.prices p JOIN office.price_list_versions v ON v.version_id = p.version_id
WHERE p.version_id = ANY ($1) AND p.prefix = ANY ($2)
