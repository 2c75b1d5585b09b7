-- All that switches sent under an attempt id, in the order in which each partition got it; what was rejected left out.
SELECT a.at, a.recorded_at, a.source_partition, a.kind, a.record
FROM facts.attempts a
WHERE a.attempt_id = $1 AND NOT EXISTS (
    SELECT FROM facts.rejected r
    WHERE r.event_id = $1 AND r.topic = 'call-attempts' AND r.partition = a.source_partition
      AND r.topic_offset = a.source_offset
)
ORDER BY a.source_partition, a.source_offset
