SELECT seq, change_id, at, actor, role, interface, host(address) AS address, action, entity, entity_id, reason, before, after
FROM plumbing.audit
WHERE ($1::text IS NULL OR entity = $1)
  AND ($2::text IS NULL OR entity_id = $2)
  AND ($3::text IS NULL OR actor = $3)
  AND ($4::text IS NULL OR action = $4)
  AND ($5::timestamptz IS NULL OR at >= $5)
  AND ($6::timestamptz IS NULL OR at < $6)
  AND ($7::bigint IS NULL OR seq < $7)
ORDER BY seq DESC
LIMIT $8
