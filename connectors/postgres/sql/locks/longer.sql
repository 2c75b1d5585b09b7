-- Locks in force on digits that begin with $1 and go on, for everyone or the account $2: the shortest first, at most $3,
-- and how many there are in all.
SELECT lock_id, kind, digits, account_id, provider_id, author, reason, created_at, count(*) OVER () AS total
FROM office.locks
WHERE lifted_at IS NULL AND digits > $1 AND digits < $1 || ':' AND (account_id IS NULL OR account_id = $2)
ORDER BY length(digits), digits, lock_id
LIMIT $3
