-- The newest first. $1 state, $2 scope, $3 account, $4 provider, $5 author, $6 what masks begin with, $7 the prefixes of the
-- number that they cover and $8 that number, $9 words of the reason; $10 and $11 where the page before ended.
SELECT l.lock_id, l.kind, l.digits, l.account_id, l.provider_id, l.author, l.reason, l.created_at, l.ends_at, l.lifted_at,
       l.lifted_by, l.lift_reason, l.revision, l.changed_at, l.changed_by, l.change_reason
FROM office.locks l
WHERE ($1::text IS NULL OR (l.lifted_at IS NULL) = ($1 = 'in_force'))
  AND ($2::text IS NULL OR (l.account_id IS NULL) = ($2 = 'global'))
  AND ($3::text IS NULL OR l.account_id = $3)
  AND ($4::text IS NULL OR l.provider_id = $4)
  AND ($5::text IS NULL OR l.author = $5)
  AND ($6::text IS NULL OR (l.digits >= $6 AND l.digits < $6 || ':'))
  AND ($7::text[] IS NULL OR l.digits = ANY ($7))
  AND ($8::text IS NULL OR l.kind = 'prefix' OR l.digits = $8)
  AND ($9::text IS NULL OR strpos(lower(l.reason), lower($9)) > 0)
  AND ($10::timestamptz IS NULL OR (l.created_at, l.lock_id) < ($10, $11::text COLLATE "C"))
ORDER BY l.created_at DESC, l.lock_id DESC
LIMIT $12
