UPDATE office.account_services SET disconnected_at = $3, disconnected_by = $4
WHERE account_id = $1 AND service = $2 AND disconnected_at IS NULL
