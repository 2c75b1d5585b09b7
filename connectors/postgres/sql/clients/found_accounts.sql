SELECT a.account_id, a.client_id, c.name, coalesce(b.status, a.status) AS status
FROM office.accounts a JOIN office.clients c USING (client_id) LEFT JOIN facts.balances b USING (account_id)
WHERE a.account_id LIKE $1
ORDER BY a.account_id LIMIT $2
