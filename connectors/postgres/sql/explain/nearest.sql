-- Attempts nearest to a moment ($3), between $4 and $5: of an account ($1), to or from a number as it may be written
-- ($2), or both. With what was answered first, or why the engine could not use it. An attempt that was sent twice is
-- there once.
SELECT DISTINCT ON (abs(extract(epoch FROM a.at - $3)), a.attempt_id, a.at)
       a.attempt_id, a.at, a.account_id, a.service, a.caller, a.called, d.allow, d.reason, d.lock_id,
       CASE WHEN d.attempt_id IS NULL THEN r.reason END AS rejected
FROM facts.attempts a
LEFT JOIN facts.decisions d
    ON d.attempt_id = a.attempt_id AND d.at = a.at AND d.extension = 0 AND d.copy = 0
LEFT JOIN facts.rejected r
    ON r.event_id = a.attempt_id AND r.topic = 'call-attempts' AND r.partition = a.source_partition
    AND r.topic_offset = a.source_offset
WHERE a.kind = 'call_attempt' AND a.at BETWEEN $4 AND $5
  AND ($1::text IS NULL OR a.account_id = $1)
  AND ($2::text[] IS NULL OR a.called = ANY ($2) OR a.caller = ANY ($2))
ORDER BY abs(extract(epoch FROM a.at - $3)), a.attempt_id, a.at, a.source_offset
LIMIT $6
