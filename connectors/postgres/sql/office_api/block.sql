INSERT INTO office.account_blocks (account_id, blocked_at, blocked_by, reason, block_command_id)
VALUES ($1, $2, $3, $4, $5)
