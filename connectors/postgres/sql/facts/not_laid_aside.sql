-- $1 topic, $2 partition, $3 offset
DELETE FROM facts.unprojected WHERE topic = $1 AND partition = $2 AND source_offset = $3
