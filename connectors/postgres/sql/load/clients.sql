INSERT INTO office.clients (client_id, name, search_words, created_at, created_by)
SELECT DISTINCT c, c, office.words_of(c), $2::timestamptz, $3 FROM unnest($1::text[]) AS c
ON CONFLICT (client_id) DO NOTHING
RETURNING client_id
