SELECT account_id, service, percent_micros, valid_from, valid_to FROM office.discounts ORDER BY account_id, discount_id
