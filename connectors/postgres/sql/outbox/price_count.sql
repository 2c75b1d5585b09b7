SELECT coalesce(sum(prices), 0)::bigint FROM office.price_list_versions WHERE version_id = ANY ($1::bigint[])
