SELECT EXISTS (SELECT FROM office.providers WHERE provider_id = $1 AND removed_at IS NULL)
