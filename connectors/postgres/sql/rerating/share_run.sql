-- Its state, which stays as it is until the end of the transaction.
SELECT state FROM books.reratings WHERE rerating_id = $1 FOR SHARE
