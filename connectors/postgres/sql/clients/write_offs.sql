-- The office's own write-offs and those that came past it; $3: who ordered those.
(SELECT command_id, at, amount_micros, reference, author, state FROM office.write_offs
 WHERE account_id = $1 ORDER BY at DESC, command_id DESC LIMIT $2)
UNION ALL
(SELECT m.cause_id, m.at, -m.amount_micros, m.reference, $3, 'applied' FROM facts.movements m
 WHERE m.account_id = $1 AND m.kind = 'write_off' AND m.copy = 0
   AND NOT EXISTS (SELECT FROM office.commands c WHERE c.command_id = m.cause_id)
 ORDER BY m.at DESC, m.cause_id DESC LIMIT $2)
ORDER BY at DESC, command_id DESC LIMIT $2
