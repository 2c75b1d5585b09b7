SELECT recorded_at, source_partition, record FROM facts.rated_cdrs
WHERE attempt_id = $1 ORDER BY source_partition, source_offset
