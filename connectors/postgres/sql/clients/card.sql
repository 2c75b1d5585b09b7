-- Before the engine has met an account it stands as it was opened.
SELECT a.account_id, a.client_id, c.name AS client_name, a.tariff_plan_id, a.payment_mode, a.currency, a.place,
       a.max_concurrent_calls, a.critical_balance_micros, a.credit_limit_micros,
       coalesce(a.manager, c.manager) AS manager,
       coalesce(b.status, a.status) AS status,
       coalesce(b.balance_micros, a.opening_balance_micros) AS balance_micros,
       coalesce(b.held_micros, 0) AS held_micros,
       coalesce(b.running_calls, 0) AS running_calls,
       b.at AS balance_at,
       k.blocked_at, k.blocked_by, k.reason AS block_reason, k.unblocked_at,
       ARRAY(SELECT t.name::text FROM office.account_tags JOIN office.tags t USING (tag) WHERE account_id = a.account_id
             ORDER BY 1) AS tags
FROM office.accounts a
JOIN office.clients c USING (client_id)
LEFT JOIN facts.balances b USING (account_id)
LEFT JOIN LATERAL (
    SELECT blocked_at, blocked_by, reason, unblocked_at FROM office.account_blocks
    WHERE account_id = a.account_id ORDER BY blocked_at DESC, block_id DESC LIMIT 1
) k ON true
WHERE a.account_id = $1
