-- How many items of a run ($1) there are: of an account ($2), with problems or without ($3); null: any
SELECT count(*) FROM books.rerating_items
WHERE rerating_id = $1 AND ($2::text IS NULL OR account_id = $2) AND ($3::boolean IS NULL OR (problem IS NOT NULL) = $3)
