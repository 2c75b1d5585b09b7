-- $1 account, $3 INN, $4 number: patterns; $2 patterns each of which must match a word of the name.
-- $5, $6: the name and id after which the page begins. One row without a client where none is left.
WITH found AS MATERIALIZED (
    SELECT c.client_id, c.kind, c.name, c.surname, c.given_name, c.patronymic, c.city, c.inn, c.manager
    FROM office.clients c
    WHERE ($1::text IS NULL OR EXISTS (
        SELECT FROM office.accounts a WHERE a.client_id = c.client_id AND a.account_id LIKE $1
    ))
    AND NOT EXISTS (
        SELECT FROM unnest($2::text[]) AS wanted(pattern)
        WHERE NOT EXISTS (SELECT FROM unnest(c.search_words) AS of_name(word) WHERE word LIKE pattern)
    )
    AND ($3::text IS NULL OR c.inn LIKE $3)
    AND ($4::text IS NULL OR EXISTS (
        SELECT FROM office.numbers n JOIN office.accounts a USING (account_id)
        WHERE a.client_id = c.client_id AND n.removed_at IS NULL AND n.number LIKE $4
    ))
)
SELECT t.total, p.*
FROM (SELECT count(*) AS total FROM found) t
LEFT JOIN LATERAL (
    SELECT * FROM found WHERE $5::text IS NULL OR (name, client_id) > ($5, $6) ORDER BY name, client_id LIMIT $7
) p ON true
ORDER BY p.name, p.client_id
