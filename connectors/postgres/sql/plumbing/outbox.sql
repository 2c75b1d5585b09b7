INSERT INTO plumbing.outbox (change_id, at, author, kind, key, payload)
SELECT $1, $2, $3, o.kind, o.key, nullif(o.payload, 'null'::jsonb)
FROM unnest($4::text[], $5::text[], $6::jsonb[]) WITH ORDINALITY AS o (kind, key, payload, place)
ORDER BY o.place
