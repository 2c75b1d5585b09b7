(SELECT currency FROM office.accounts WHERE currency <> $1 LIMIT 1)
UNION ALL
(SELECT currency FROM office.price_list_versions WHERE state = 'published' AND currency <> $1 LIMIT 1)
LIMIT 1
