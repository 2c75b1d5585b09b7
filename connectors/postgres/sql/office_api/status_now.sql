-- The status of an account: what the engine told of last, unless an order of the office's is under way to it.
SELECT CASE WHEN EXISTS (
           SELECT FROM office.commands
           WHERE account_id = $1 AND state = 'ordered' AND kind IN ('block', 'unblock', 'close')
       ) THEN a.status ELSE coalesce(m.status, a.status) END
FROM office.accounts a
LEFT JOIN LATERAL (
    SELECT status FROM facts.movements WHERE account_id = a.account_id ORDER BY recorded_at DESC, source_offset DESC LIMIT 1
) m ON true
WHERE a.account_id = $1
