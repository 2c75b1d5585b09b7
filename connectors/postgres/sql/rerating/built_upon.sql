-- A run that is posted, or being posted, and whose items began where this one's ended.
SELECT j.rerating_id FROM books.rerating_items j
JOIN books.rerating_accounts a ON a.rerating_id = j.rerating_id AND a.account_id = j.account_id
WHERE j.corrects = $1 AND j.problem IS NULL AND a.state = 'posted'
ORDER BY j.rerating_id DESC LIMIT 1
