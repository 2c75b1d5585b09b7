SELECT command_id, kind, account_id, at, amount_micros, reference, source, reason, reverses, author, ordered_at, state, state_at,
       rejected_why
FROM office.commands WHERE command_id = $1
