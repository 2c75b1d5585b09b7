-- $1 topic, $2 partition, $3 from, $4 to (exclusive)
INSERT INTO facts.gaps (topic, partition, from_offset, to_offset) VALUES ($1, $2, $3, $4)
ON CONFLICT DO NOTHING
