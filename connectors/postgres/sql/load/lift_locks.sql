UPDATE office.locks SET
    lifted_at = $2, lifted_by = $3, lift_reason = $5, changed_at = $2, changed_by = $3, changed_as = $4,
    change_reason = $5
WHERE lock_id = ANY ($1)
