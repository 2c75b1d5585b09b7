-- Puts the prices of version $1 into version $2.
INSERT INTO office.prices (
    version_id, prefix, service, place, incoming_service, band_id, from_second, connect_fee_micros, price_micros,
    per_seconds, step_seconds, min_charge_micros, max_charge_micros, valid_from, valid_to, attempt_fee_micros, line
)
SELECT $2, prefix, service, place, incoming_service, band_id, from_second, connect_fee_micros, price_micros,
       per_seconds, step_seconds, min_charge_micros, max_charge_micros, valid_from, valid_to, attempt_fee_micros, line
FROM office.prices WHERE version_id = $1
