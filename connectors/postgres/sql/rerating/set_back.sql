UPDATE books.rerating_accounts SET state = 'rolled_back', rolled_back_at = $3, back_command_id = $4
WHERE rerating_id = $1 AND account_id = $2
