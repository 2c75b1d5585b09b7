UPDATE office.account_blocks
SET unblocked_at = greatest(blocked_at, $2), unblocked_by = $3, unblock_reason = $4, unblock_command_id = $5
WHERE account_id = $1 AND unblocked_at IS NULL
