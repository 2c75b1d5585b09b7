SELECT v.price_list_id, p.prefix, p.service, p.place, p.incoming_service, p.band_id, p.from_second,
       p.connect_fee_micros, p.price_micros, p.per_seconds, p.step_seconds, p.min_charge_micros, p.max_charge_micros,
       p.valid_from, p.valid_to, p.attempt_fee_micros
FROM office.prices p JOIN office.price_list_versions v ON v.version_id = p.version_id
WHERE p.version_id = $1
ORDER BY p.prefix, p.from_second
