SELECT service, percent_micros, valid_from, valid_to FROM office.discounts
WHERE account_id = $1 ORDER BY service NULLS FIRST, valid_from NULLS FIRST
