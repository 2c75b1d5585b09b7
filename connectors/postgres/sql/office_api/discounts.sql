SELECT service, percent_micros, valid_from, valid_to FROM office.discounts WHERE account_id = $1 ORDER BY discount_id
