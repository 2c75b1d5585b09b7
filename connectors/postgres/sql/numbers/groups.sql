SELECT group_name, array_agg(member::text ORDER BY member) AS members FROM office.number_groups GROUP BY group_name
