-- How many of a run's ($1) corrections are in a state ($2).
SELECT count(*) FROM books.rerating_accounts a JOIN office.commands c ON c.command_id = a.command_id
WHERE a.rerating_id = $1 AND c.state = $2
