-- Clients of which anything but the name and the INN mentions a text: $1 parts of its words, $2 patterns of them, $3 a
-- number, $4 a pattern for INNs, $5 how many. Each way to be mentioned goes by its own index.
SELECT c.client_id, c.kind, c.name, c.surname, c.given_name, c.patronymic, c.city, c.inn, c.manager
FROM (
    SELECT w.client_id FROM office.clients w
    WHERE office.word_parts(w.mention_words) @> $1::text[]
      AND ' ' || array_to_string(w.mention_words, ' ') || ' ' LIKE ALL ($2::text[])
    UNION
    SELECT p.client_id FROM office.clients p WHERE p.phones @> ARRAY[$3::text]
    UNION
    SELECT h.client_id FROM office.client_tags h JOIN office.tags t USING (tag)
    WHERE ' ' || array_to_string(office.words_of_all(ARRAY[t.tag::text, t.name::text]), ' ') || ' ' LIKE ALL ($2::text[])
) found
JOIN office.clients c USING (client_id)
WHERE NOT ' ' || array_to_string(c.search_words, ' ') || ' ' LIKE ALL ($2::text[])
  AND c.inn LIKE $4 IS NOT TRUE
ORDER BY c.name, c.client_id LIMIT $5
