-- Records that could not be stored, by their places.
SELECT topic, partition, source_offset, key, value, recorded_at
FROM facts.unprojected ORDER BY topic, partition, source_offset
