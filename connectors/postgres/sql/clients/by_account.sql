c.client_id IN (SELECT a.client_id FROM office.accounts a WHERE a.account_id LIKE $1 AND a.account_id BETWEEN $2 AND $3)
