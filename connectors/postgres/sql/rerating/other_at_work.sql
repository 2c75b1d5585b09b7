SELECT rerating_id FROM books.reratings WHERE state IN ('posting', 'rolling_back') AND rerating_id <> $1
