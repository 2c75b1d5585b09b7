DELETE FROM office.discounts WHERE account_id = ANY ($1)
