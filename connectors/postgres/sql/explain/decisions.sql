-- All that was answered to an attempt id, in the order in which each partition said it.
SELECT at, recorded_at, source_partition, source_offset, extension, repeated, record
FROM facts.decisions WHERE attempt_id = $1 ORDER BY source_partition, source_offset
