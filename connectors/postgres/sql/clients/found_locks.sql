-- Locks in force by id ($1), mask ($2), or words of the author's name and the reason ($3, patterns).
SELECT l.lock_id, l.kind, l.digits, l.account_id, l.provider_id, l.author, l.reason
FROM office.locks l
WHERE l.lifted_at IS NULL AND (
    l.lock_id = $1 OR l.digits = $2
    OR ' ' || array_to_string(office.words_of_all(ARRAY[l.lock_id::text, l.author::text, l.reason::text]), ' ') || ' '
        LIKE ALL ($3::text[])
)
ORDER BY l.lock_id LIMIT $4
