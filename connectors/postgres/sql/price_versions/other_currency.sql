SELECT currency FROM office.accounts WHERE currency <> $1
UNION ALL
SELECT v.currency FROM office.price_list_versions v
WHERE v.currency <> $1 AND v.state IN ('staged', 'published')
LIMIT 1
