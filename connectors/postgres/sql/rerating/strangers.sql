-- Accounts of a run that the office does not have: the engine could not be ordered anything for them.
SELECT a.account_id FROM books.rerating_accounts a
WHERE a.rerating_id = $1 AND a.account_id <> '' AND a.old_retail_micros <> a.new_retail_micros
  AND NOT EXISTS (SELECT FROM office.accounts o WHERE o.account_id = a.account_id)
ORDER BY a.place LIMIT 10
