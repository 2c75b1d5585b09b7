SELECT EXISTS (SELECT FROM office.accounts WHERE account_id = $1)
