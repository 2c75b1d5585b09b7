-- $1 kinds, $2 owners
INSERT INTO books.accounts (kind, owner)
SELECT kind, owner FROM unnest($1::text[], $2::text[]) AS w (kind, owner) ORDER BY kind, owner
ON CONFLICT DO NOTHING
