-- What some calls are charged instead of what was published. $1 ids, $2 ends, $3 copies
SELECT k.cdr_id, k.ended_at, k.copy, c.rerating_id, c.new_retail_micros, c.new_wholesale_micros
FROM unnest($1::text[], $2::timestamptz[], $3::bigint[]) AS k (cdr_id, ended_at, copy)
CROSS JOIN LATERAL books.correction_of(k.cdr_id, k.ended_at, k.copy) c
