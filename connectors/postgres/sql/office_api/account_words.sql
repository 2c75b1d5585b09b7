UPDATE office.accounts SET manager = $2, comment = $3 WHERE account_id = $1
