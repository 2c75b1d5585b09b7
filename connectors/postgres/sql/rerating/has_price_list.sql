SELECT EXISTS (SELECT FROM office.price_list_versions WHERE price_list_id = $1 AND state IN ('published', 'withdrawn'))
