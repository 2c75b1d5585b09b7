-- Items of a run ($1) after a place ($2): of an account ($3), with problems or without ($4); null: any. At most so many ($5)
SELECT rerating_id, place, account_id, ended_at, cdr_id, copy, service, called, provider_id, billable_seconds, corrects,
       old_retail_micros, old_wholesale_micros, new_retail_micros, new_wholesale_micros, old_charges, new_charges, problem,
       detail
FROM books.rerating_items
WHERE rerating_id = $1 AND place > $2 AND ($3::text IS NULL OR account_id = $3)
  AND ($4::boolean IS NULL OR (problem IS NOT NULL) = $4)
ORDER BY place LIMIT $5
