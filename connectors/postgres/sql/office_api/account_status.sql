UPDATE office.accounts SET status = $2 WHERE account_id = $1
