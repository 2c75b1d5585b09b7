INSERT INTO office.tags (tag, name, created_at, created_by) VALUES ($1, $2, $3, $4)
ON CONFLICT (tag) DO UPDATE SET name = excluded.name
