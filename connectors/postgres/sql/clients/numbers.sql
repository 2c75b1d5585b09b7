SELECT n.number, n.status, n.account_id, a.client_id, n.region
FROM office.numbers n LEFT JOIN office.accounts a USING (account_id)
WHERE n.removed_at IS NULL AND n.number LIKE $1
ORDER BY n.number LIMIT $2
