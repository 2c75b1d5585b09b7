SELECT account_id, client_id, tariff_plan_id, payment_mode, currency, opening_balance_micros, opening_status,
       credit_limit_micros, critical_balance_micros, place, max_concurrent_calls, status, manager, comment
FROM office.accounts WHERE account_id = $1
