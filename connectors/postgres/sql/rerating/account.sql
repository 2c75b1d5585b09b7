-- One account of a run, which stays as it is until the end of the transaction.
SELECT a.rerating_id, a.account_id, a.place, a.items, a.old_retail_micros, a.new_retail_micros, a.old_wholesale_micros,
       a.new_wholesale_micros, a.state, a.command_id, c.state AS command_state, a.tries, a.back_command_id,
       b.state AS back_command_state
FROM books.rerating_accounts a
LEFT JOIN office.commands c ON c.command_id = a.command_id
LEFT JOIN office.commands b ON b.command_id = a.back_command_id
WHERE a.rerating_id = $1 AND a.account_id = $2
FOR UPDATE OF a
