SELECT provider_id, name, priority, place, pdgi, own
FROM office.providers WHERE removed_at IS NULL AND provider_id > $1
ORDER BY provider_id LIMIT $2
