c.client_id IN (
    SELECT a.client_id FROM office.numbers n JOIN office.accounts a USING (account_id)
    WHERE n.removed_at IS NULL AND n.number LIKE $7
)
