SELECT number FROM office.numbers WHERE account_id = $1 AND removed_at IS NULL ORDER BY number
