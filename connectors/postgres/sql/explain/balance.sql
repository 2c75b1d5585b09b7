-- What the engine last said of an account's money, and when and why its status last changed.
SELECT b.account_id, b.at, b.currency, b.balance_micros, b.held_micros, b.credit_limit_micros, b.available_micros,
       b.status, b.running_calls, m.at AS since, m.reason AS why
FROM facts.balances b
LEFT JOIN LATERAL (
    SELECT m.at, m.reason FROM facts.movements m
    WHERE m.account_id = b.account_id AND m.kind IN ('block', 'unblock', 'close')
    ORDER BY m.source_partition, m.source_offset DESC LIMIT 1
) m ON true
WHERE b.account_id = $1
