INSERT INTO office.clients (client_id, name, created_at, created_by)
SELECT DISTINCT c, c, $2::timestamptz, $3 FROM unnest($1::text[]) AS c
ON CONFLICT (client_id) DO NOTHING
RETURNING client_id
