-- $1 the last one was before, $2 now: nobody who must still wait, $3 at most
DELETE FROM access.failed_logins WHERE subject IN (
    SELECT subject FROM access.failed_logins WHERE last_at < $1 AND wait_until < $2
    ORDER BY last_at LIMIT $3 FOR UPDATE SKIP LOCKED
)
