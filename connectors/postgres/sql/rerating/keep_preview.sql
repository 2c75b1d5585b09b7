UPDATE books.reratings SET fingerprint = $2, summary = $3 WHERE rerating_id = $1
