DELETE FROM books.rerating_items WHERE rerating_id = $1
