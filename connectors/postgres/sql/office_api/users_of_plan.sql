SELECT 'account ' || account_id FROM office.accounts WHERE tariff_plan_id = $1 ORDER BY account_id LIMIT 5
