UPDATE office.providers SET removed_at = $2 WHERE provider_id = ANY ($1)
