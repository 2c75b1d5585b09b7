-- What an account began with stays; commands and calls move it.
INSERT INTO office.accounts (
    account_id, client_id, tariff_plan_id, payment_mode, currency, opening_balance_micros, opening_status,
    credit_limit_micros, critical_balance_micros, place, max_concurrent_calls, status, created_at, created_by
)
SELECT account_id, client_id, tariff_plan_id, payment_mode, currency, balance_micros, status, credit_limit_micros,
       critical_balance_micros, place, max_concurrent_calls, status, $2, $3
FROM jsonb_to_recordset($1) AS r (
    account_id text, client_id text, tariff_plan_id text, payment_mode text, currency text, balance_micros bigint,
    credit_limit_micros bigint, critical_balance_micros bigint, status text, place text, max_concurrent_calls integer
)
ON CONFLICT (account_id) DO UPDATE SET
    client_id = excluded.client_id, tariff_plan_id = excluded.tariff_plan_id, payment_mode = excluded.payment_mode,
    credit_limit_micros = excluded.credit_limit_micros, critical_balance_micros = excluded.critical_balance_micros,
    place = excluded.place, max_concurrent_calls = excluded.max_concurrent_calls
