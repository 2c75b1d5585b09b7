SELECT EXISTS (SELECT FROM office.client_tags WHERE client_id = $1 AND tag = $2)
