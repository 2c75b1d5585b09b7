-- The latest of each account; what is older than the row that is there changes nothing.
INSERT INTO facts.balances (
    account_id, at, recorded_at, source_partition, source_offset, balance_micros, held_micros, credit_limit_micros,
    available_micros, running_calls, currency, status
)
SELECT * FROM unnest(
    $1::text[], $2::timestamptz[], $3::timestamptz[], $4::integer[], $5::bigint[], $6::bigint[], $7::bigint[],
    $8::bigint[], $9::bigint[], $10::integer[], $11::text[], $12::text[]
)
ON CONFLICT (account_id) DO UPDATE SET
    at = excluded.at, recorded_at = excluded.recorded_at, source_partition = excluded.source_partition,
    source_offset = excluded.source_offset, balance_micros = excluded.balance_micros,
    held_micros = excluded.held_micros, credit_limit_micros = excluded.credit_limit_micros,
    available_micros = excluded.available_micros,
    running_calls = excluded.running_calls, currency = excluded.currency, status = excluded.status
WHERE balances.source_offset < excluded.source_offset
