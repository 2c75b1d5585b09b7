INSERT INTO books.reratings (
    since, until, account_id, prefix, price_list_id, reference_version, plans, reason, created_at, created_by
) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) RETURNING rerating_id
