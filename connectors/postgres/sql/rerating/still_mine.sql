-- Whether the worker ($2) still has the run ($1); then nobody takes it before the end of the transaction.
SELECT true FROM books.reratings WHERE rerating_id = $1 AND worker = $2 FOR SHARE
