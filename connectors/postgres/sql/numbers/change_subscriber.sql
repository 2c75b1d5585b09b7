UPDATE office.subscribers SET
    product = $2, status = $3, planned_on = $4, activated_at = $5, closed_at = $6, closed_by = $7, closed_why = $8,
    changed_at = $9, changed_by = $10, change_reason = $11
WHERE subscriber_id = $1
