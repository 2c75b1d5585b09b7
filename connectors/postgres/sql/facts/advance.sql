-- Moves the position of topics on, where it is what the caller takes it for: one row is counted for each topic.
-- $1 partition, $2 topics, $3 from, $4 to, $5 the time of the last record, $6 how long the transaction may stand still.
--
-- The rows stay locked to the end of the transaction, and a projector that has frozen must not keep the next one out.
-- Nobody waits for the disk: what a crash of the server takes is taken with its position, and read again.
WITH terms AS (
    SELECT set_config('idle_in_transaction_session_timeout', $6, true), set_config('synchronous_commit', 'off', true)
)
UPDATE facts.offsets AS o
SET next_offset = b.to_offset, record_at = coalesce(b.record_at, o.record_at), projected_at = now()
FROM unnest($2::text[], $3::bigint[], $4::bigint[], $5::timestamptz[]) AS b (topic, from_offset, to_offset, record_at),
    terms
WHERE o.topic = b.topic AND o.partition = $1 AND o.next_offset = b.from_offset
