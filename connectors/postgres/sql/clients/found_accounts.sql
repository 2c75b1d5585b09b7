-- Accounts by their id ($1, a pattern), or by what the office has written of them: $2 parts of words, $3 patterns of the
-- words. By id first.
SELECT a.account_id, a.client_id, c.name, coalesce(b.status, a.status) AS status
FROM (
    SELECT a.account_id, a.client_id, a.status FROM office.accounts a WHERE a.account_id LIKE $1
    UNION
    SELECT a.account_id, a.client_id, a.status FROM office.accounts a
    WHERE office.word_parts(a.mention_words) @> $2::text[]
      AND ' ' || array_to_string(a.mention_words, ' ') || ' ' LIKE ALL ($3::text[])
    UNION
    SELECT a.account_id, a.client_id, a.status
    FROM office.account_tags h JOIN office.tags t USING (tag) JOIN office.accounts a USING (account_id)
    WHERE ' ' || array_to_string(office.words_of_all(ARRAY[t.tag::text, t.name::text]), ' ') || ' ' LIKE ALL ($3::text[])
) a
JOIN office.clients c USING (client_id) LEFT JOIN facts.balances b USING (account_id)
ORDER BY a.account_id LIKE $1 DESC, a.account_id LIMIT $4
