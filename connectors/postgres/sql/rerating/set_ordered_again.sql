UPDATE books.rerating_accounts SET command_id = $3, tries = tries + 1 WHERE rerating_id = $1 AND account_id = $2
