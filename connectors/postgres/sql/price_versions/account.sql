-- An account as reference/accounts has it.
SELECT account_id, client_id, tariff_plan_id, payment_mode, currency, opening_balance_micros, credit_limit_micros,
       critical_balance_micros, opening_status, place, max_concurrent_calls
FROM office.accounts WHERE account_id = $1
