SELECT account_id, status FROM office.accounts
