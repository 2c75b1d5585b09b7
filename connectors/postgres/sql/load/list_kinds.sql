SELECT price_list_id, kind FROM office.price_lists
