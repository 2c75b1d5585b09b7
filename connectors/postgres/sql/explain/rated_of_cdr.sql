SELECT recorded_at, source_partition, record, attempt_id FROM facts.rated_cdrs
WHERE cdr_id = $1 ORDER BY source_partition, source_offset
