DELETE FROM books.rerating_accounts WHERE rerating_id = $1
