SELECT FROM books.reratings WHERE rerating_id = $1 FOR UPDATE
