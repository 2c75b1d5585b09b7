-- Topics of a partition that have never been read begin at their first offset. $1 topics, $2 partition
INSERT INTO facts.offsets (topic, partition, next_offset)
SELECT topic, $2, 0 FROM unnest($1::text[]) AS topic
ON CONFLICT DO NOTHING
