-- All clients: how many there are, and a page of them in the order of their names; $1, $2 after which name and id it
-- begins, $3 how long it is. One row without a client where none is left.
SELECT t.total, p.*
FROM (SELECT count(*) AS total FROM office.clients) t
LEFT JOIN LATERAL (
    SELECT c.client_id, c.kind, c.name, c.surname, c.given_name, c.patronymic, c.city, c.inn, c.manager
    FROM office.clients c
    WHERE (c.name, c.client_id) > (coalesce($1::text, ''), coalesce($2::text, ''))
    ORDER BY c.name, c.client_id LIMIT $3
) p ON true
ORDER BY p.name, p.client_id
