-- $1 answers given before, $2 at most; none that a request is busy with
DELETE FROM plumbing.idempotency_keys k
USING (
    SELECT user_id, key FROM plumbing.idempotency_keys WHERE at < $1 ORDER BY at LIMIT $2 FOR UPDATE SKIP LOCKED
) old
WHERE k.user_id = old.user_id AND k.key = old.key
