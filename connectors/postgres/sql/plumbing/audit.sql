INSERT INTO plumbing.audit (
    change_id, at, actor, role, interface, address, action, entity, entity_id, reason, before, after
)
SELECT $1, $2, $3, $4, $5, $6::inet, a.action, a.entity, a.entity_id, $7,
       nullif(a.before, 'null'::jsonb), nullif(a.after, 'null'::jsonb)
FROM unnest($8::text[], $9::text[], $10::text[], $11::jsonb[], $12::jsonb[]) WITH ORDINALITY
    AS a (entity, entity_id, action, before, after, place)
ORDER BY a.place
