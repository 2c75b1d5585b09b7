SELECT provider_id, name FROM office.providers WHERE provider_id = ANY ($1)
