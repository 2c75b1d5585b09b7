-- An order by its id: the office's own, or one that the engine told of and that came past the office. $2: who ordered that.
SELECT command_id, kind, account_id, at, amount_micros, reference, source, reason, reverses, author, ordered_at, state, state_at,
       rejected_why, 'office' AS origin
FROM office.commands WHERE command_id = $1
UNION ALL
(SELECT m.cause_id, m.kind, m.account_id, m.at,
        CASE m.kind WHEN 'write_off' THEN -m.amount_micros WHEN 'block' THEN NULL WHEN 'unblock' THEN NULL
                    WHEN 'close' THEN NULL ELSE m.amount_micros END,
        m.reference, NULL, m.reason, NULL, $2, m.at, 'applied', m.recorded_at, NULL, 'outside'
 FROM facts.movements m
 WHERE m.cause_id = $1 AND m.kind <> 'opening' AND m.copy = 0
   AND NOT EXISTS (SELECT FROM office.commands c WHERE c.command_id = m.cause_id)
 ORDER BY m.recorded_at LIMIT 1)
