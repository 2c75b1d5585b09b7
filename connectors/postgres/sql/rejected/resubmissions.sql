SELECT number, at, author, reason, edited, forced, event_id, payload
FROM office.resubmissions WHERE source_partition = $1 AND source_offset = $2 ORDER BY number
