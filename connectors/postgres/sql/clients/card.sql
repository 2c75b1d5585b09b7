-- Before the engine has met an account it stands as it was opened. Blocks and the closing are the office's own, or the
-- engine told of them; $2: who ordered those that came past the office.
SELECT a.account_id, a.client_id, c.name AS client_name, a.tariff_plan_id, a.payment_mode, a.currency, a.place,
       a.max_concurrent_calls, a.critical_balance_micros, a.credit_limit_micros,
       coalesce(a.manager, c.manager) AS manager,
       coalesce(b.status, a.status) AS status,
       coalesce(b.balance_micros, a.opening_balance_micros) AS balance_micros,
       coalesce(b.held_micros, 0) AS held_micros,
       coalesce(b.running_calls, 0) AS running_calls,
       b.at AS balance_at,
       k.blocked_at, k.blocked_by, k.reason AS block_reason,
       coalesce(k.unblocked_at, u.at) AS unblocked_at,
       e.at AS closed_at, e.author AS closed_by, e.reason AS close_reason,
       ARRAY(SELECT t.name::text FROM office.account_tags JOIN office.tags t USING (tag) WHERE account_id = a.account_id
             ORDER BY 1) AS tags
FROM office.accounts a
JOIN office.clients c USING (client_id)
LEFT JOIN facts.balances b USING (account_id)
LEFT JOIN LATERAL (
    (SELECT k.blocked_at, k.blocked_by, k.reason::text, k.unblocked_at
     FROM office.account_blocks k
     WHERE k.account_id = a.account_id ORDER BY k.blocked_at DESC, k.block_id DESC LIMIT 1)
    UNION ALL
    (SELECT m.at, $2, coalesce(m.reason, ''), NULL
     FROM facts.movements m
     WHERE m.account_id = a.account_id AND m.kind = 'block' AND m.copy = 0
       AND NOT EXISTS (SELECT FROM office.commands o WHERE o.command_id = m.cause_id)
     ORDER BY m.at DESC, m.source_offset DESC LIMIT 1)
    ORDER BY blocked_at DESC LIMIT 1
) k ON true
LEFT JOIN LATERAL (
    SELECT m.at FROM facts.movements m
    WHERE m.account_id = a.account_id AND m.kind IN ('unblock', 'close') AND m.at >= k.blocked_at
    ORDER BY m.at, m.source_offset LIMIT 1
) u ON true
LEFT JOIN LATERAL (
    SELECT o.at, o.author, o.reason::text FROM office.commands o
    WHERE o.account_id = a.account_id AND o.kind = 'close' AND o.state <> 'rejected'
    UNION ALL
    SELECT m.at, $2, coalesce(m.reason, '') FROM facts.movements m
    WHERE m.account_id = a.account_id AND m.kind = 'close' AND m.copy = 0
      AND NOT EXISTS (SELECT FROM office.commands o WHERE o.command_id = m.cause_id)
    ORDER BY at LIMIT 1
) e ON true
WHERE a.account_id = $1
