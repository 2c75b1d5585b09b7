UPDATE facts.rejected SET set_aside_at = $3, set_aside_by = $4, set_aside_why = $5
WHERE source_partition = $1 AND source_offset = $2
