-- Commands in the outbox that are none of the office's orders, and that the engine has said nothing of.
SELECT o.seq, o.key AS account_id, o.payload ->> 'command_id' AS command_id, o.published_at
FROM plumbing.outbox AS o
WHERE o.kind = 'command'
    AND NOT EXISTS (SELECT FROM office.commands AS c WHERE c.command_id = o.payload ->> 'command_id')
    AND NOT EXISTS (
        SELECT FROM facts.movements AS m WHERE m.cause_id = o.payload ->> 'command_id' AND m.account_id = o.key
    )
    AND NOT EXISTS (
        SELECT FROM facts.rejected AS r
        WHERE r.topic = 'account-commands' AND r.event_id = o.payload ->> 'command_id'
    )
ORDER BY o.seq
