-- Other rejections of an event with the same id on the same topic: $1 topic, $2 id, but for $3, $4.
SELECT source_partition, source_offset, recorded_at, reason FROM facts.rejected
WHERE topic = $1 AND event_id = $2 AND (source_partition, source_offset) <> ($3::integer, $4::bigint)
ORDER BY recorded_at, source_partition, source_offset LIMIT 100
