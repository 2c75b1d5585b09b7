SELECT command_id, at, amount_micros, reference, author, state FROM office.write_offs
WHERE account_id = $1 ORDER BY at DESC, command_id DESC LIMIT $2
