UPDATE office.numbers SET removed_at = $2, changed_at = $2, changed_by = $3, change_reason = $4 WHERE number = ANY ($1)
