SELECT a.client_id, a.account_id, coalesce(b.status, a.status) AS status, a.payment_mode, a.tariff_plan_id, a.currency
FROM office.accounts a LEFT JOIN facts.balances b USING (account_id)
WHERE a.client_id = ANY ($1::text[])
ORDER BY a.account_id
