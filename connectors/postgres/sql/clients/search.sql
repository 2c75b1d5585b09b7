-- The clients for which all of some conditions hold (`by_….sql`): how many there are, and a page of them in the order of
-- their names. One row without a client where none is left. What is asked by:
-- $1 account, $4 INN, $7 number: patterns, each followed by the least and the greatest text that it fits;
-- $10 parts of words, $11 patterns each of which must match a word of the name; $12, $13 after which name and id the
-- page begins, $14 how long it is.
WITH asked AS (
    SELECT $1::text, $2::text, $3::text, $4::text, $5::text, $6::text, $7::text, $8::text, $9::text, $10::text[],
           $11::text[], $12::text, $13::text
), found AS MATERIALIZED (
    SELECT c.client_id, c.name FROM office.clients c WHERE true
), page AS (
    SELECT f.client_id, f.name FROM found f
    WHERE $12::text IS NULL OR (f.name, f.client_id) > ($12, $13) ORDER BY f.name, f.client_id LIMIT $14
)
SELECT t.total, p.*
FROM (SELECT count(*) AS total FROM found) t
LEFT JOIN (
    SELECT c.client_id, c.kind, c.name, c.surname, c.given_name, c.patronymic, c.city, c.inn, c.manager
    FROM page JOIN office.clients c USING (client_id)
) p ON true
ORDER BY p.name, p.client_id
