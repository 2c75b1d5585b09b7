INSERT INTO office.client_tags (client_id, tag, since, author) VALUES ($1, $2, $3, $4)
ON CONFLICT (client_id, tag) DO NOTHING
