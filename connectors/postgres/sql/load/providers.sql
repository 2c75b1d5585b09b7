INSERT INTO office.providers (provider_id, name, priority, place, pdgi, own)
SELECT provider_id, name, priority, place, pdgi, own
FROM jsonb_to_recordset($1) AS r (
    provider_id text, name text, priority integer, place text, pdgi boolean, own boolean
)
ON CONFLICT (provider_id) DO UPDATE SET
    name = excluded.name, priority = excluded.priority, place = excluded.place, pdgi = excluded.pdgi,
    own = excluded.own, removed_at = NULL
