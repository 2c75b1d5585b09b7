-- Where the topics of a partition stand. $1 topics, $2 partition
SELECT topic, next_offset, record_at FROM facts.offsets WHERE topic = ANY ($1::text[]) AND partition = $2
