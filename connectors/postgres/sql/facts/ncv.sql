-- The latest of each counter; what is older than the row that is there changes nothing.
INSERT INTO facts.ncv (
    number, day, calls, unique_callers, first_at, last_at, source_partition, source_offset
)
SELECT * FROM unnest(
    $1::text[], $2::date[], $3::integer[], $4::integer[], $5::timestamptz[], $6::timestamptz[], $7::integer[],
    $8::bigint[]
)
ON CONFLICT (number, day) DO UPDATE SET
    calls = excluded.calls, unique_callers = excluded.unique_callers, first_at = excluded.first_at,
    last_at = excluded.last_at, source_partition = excluded.source_partition, source_offset = excluded.source_offset
WHERE ncv.source_offset < excluded.source_offset
