-- Accounts of a run that are to be worked on: in a state ($2), or ($3) those whose correction the engine has rejected.
SELECT a.account_id FROM books.rerating_accounts a
WHERE a.rerating_id = $1 AND (
    a.state = $2
    OR $3 AND a.state = 'posted'
       AND EXISTS (SELECT FROM office.commands c WHERE c.command_id = a.command_id AND c.state = 'rejected')
)
ORDER BY a.place
