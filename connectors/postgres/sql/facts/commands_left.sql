-- Commands of the office whose end is not known, or known otherwise than the engine said it.
SELECT
    c.command_id, c.account_id, c.kind, c.state, c.amount_micros, o.seq, o.published_at,
    m.cause_id IS NOT NULL AS applied, r.event_id IS NOT NULL AS rejected, m.amount_micros AS moved_micros
FROM office.commands AS c
LEFT JOIN (
    SELECT payload ->> 'command_id' AS command_id, min(seq) AS seq, min(published_at) AS published_at
    FROM plumbing.outbox WHERE kind = 'command' GROUP BY 1
) AS o ON o.command_id = c.command_id
LEFT JOIN (
    SELECT DISTINCT ON (cause_id, account_id) cause_id, account_id, amount_micros
    FROM facts.movements WHERE kind <> 'opening' ORDER BY cause_id, account_id, copy
) AS m ON m.cause_id = c.command_id AND m.account_id = c.account_id
LEFT JOIN (
    SELECT DISTINCT event_id FROM facts.rejected WHERE topic = 'account-commands'
) AS r ON r.event_id = c.command_id
WHERE o.seq IS NULL
    OR c.state <> CASE WHEN m.cause_id IS NOT NULL THEN 'applied' WHEN r.event_id IS NOT NULL THEN 'rejected' ELSE '' END
    OR m.amount_micros <> CASE WHEN c.kind = 'write_off' THEN -c.amount_micros ELSE coalesce(c.amount_micros, 0) END
ORDER BY c.ordered_at
