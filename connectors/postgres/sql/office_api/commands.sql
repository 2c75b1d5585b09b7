-- Orders for an account: the office's own, and what the engine told of that came past the office. $8: who ordered those.
SELECT * FROM (
    (SELECT command_id, kind, account_id, at, amount_micros, reference, source, reason, reverses, author, ordered_at, state,
            state_at, rejected_why, 'office' AS origin
     FROM office.commands
     WHERE account_id = $1 AND kind = ANY ($2)
       AND ($3::timestamptz IS NULL OR at >= $3)
       AND ($4::timestamptz IS NULL OR at < $4)
       AND ($5::timestamptz IS NULL OR (at, command_id) < ($5, $6))
     ORDER BY at DESC, command_id DESC LIMIT $7)
    UNION ALL
    (SELECT m.cause_id, m.kind, m.account_id, m.at,
            -- Of a movement the amount is what it did to the balance.
            CASE m.kind WHEN 'write_off' THEN -m.amount_micros WHEN 'payment' THEN m.amount_micros
                        WHEN 'top_up' THEN m.amount_micros END,
            m.reference, NULL, m.reason, NULL, $8, m.at, 'applied', m.recorded_at, NULL, 'outside'
     FROM facts.movements m
     WHERE m.account_id = $1 AND m.kind = ANY ($2) AND m.copy = 0
       AND ($3::timestamptz IS NULL OR m.at >= $3)
       AND ($4::timestamptz IS NULL OR m.at < $4)
       AND ($5::timestamptz IS NULL OR (m.at, m.cause_id) < ($5, $6))
       AND NOT EXISTS (SELECT FROM office.commands c WHERE c.command_id = m.cause_id)
     ORDER BY m.at DESC, m.cause_id DESC LIMIT $7)
) found
ORDER BY at DESC, command_id DESC
LIMIT $7
