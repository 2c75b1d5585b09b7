-- Notes that a rejected event was submitted again.
WITH noted AS (
    UPDATE facts.rejected SET resubmitted_at = $3, resubmitted_by = $4
    WHERE source_partition = $1 AND source_offset = $2
)
INSERT INTO office.resubmissions (
    source_partition, source_offset, number, at, author, reason, edited, forced, event_id, key, payload, change_id
)
SELECT $1, $2, coalesce(max(number), 0) + 1, $3, $4, $5, $6, $7, $8, $9, $10, $11
FROM office.resubmissions WHERE source_partition = $1 AND source_offset = $2
