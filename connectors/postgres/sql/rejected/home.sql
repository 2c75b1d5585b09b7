-- On which partition an attempt was answered: the topics are cut alike.
SELECT source_partition FROM facts.decisions WHERE attempt_id = $1 ORDER BY recorded_at DESC, source_offset DESC LIMIT 1
