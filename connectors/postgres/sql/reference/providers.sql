SELECT provider_id, name, priority, place, pdgi, own FROM office.providers WHERE removed_at IS NULL ORDER BY provider_id
