-- Rejected events ($1 partitions, $2 offsets), held until the end of the transaction: two who submit the same one come
-- one after the other.
SELECT r.source_partition, r.source_offset, r.recorded_at, r.at, r.topic, r.partition, r.topic_offset, r.reason,
       r.detail, r.event_id, r.account_id, r.payload, r.resubmitted_at, r.resubmitted_by, r.set_aside_at,
       r.set_aside_by, r.set_aside_why
FROM facts.rejected r
JOIN unnest($1::integer[], $2::bigint[]) AS w (source_partition, source_offset)
    USING (source_partition, source_offset)
ORDER BY r.source_partition, r.source_offset
FOR NO KEY UPDATE OF r
