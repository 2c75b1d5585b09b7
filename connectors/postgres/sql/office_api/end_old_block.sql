-- A block that was ended past the office: since the engine's word, by $2.
UPDATE office.account_blocks k
SET unblocked_at = greatest(k.blocked_at, coalesce(
        (SELECT min(m.at) FROM facts.movements m
         WHERE m.account_id = k.account_id AND m.kind IN ('unblock', 'close') AND m.at >= k.blocked_at),
        k.blocked_at)),
    unblocked_by = $2
WHERE k.account_id = $1 AND k.unblocked_at IS NULL
