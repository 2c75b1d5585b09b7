SELECT FROM office.price_lists WHERE price_list_id = $1 FOR UPDATE
