SELECT provider_id, name, priority, place, pdgi, own FROM office.providers WHERE provider_id = $1
