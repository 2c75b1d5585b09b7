SELECT account_id, service, product, connected_at, connected_by, disconnected_at, disconnected_by
FROM office.account_services WHERE account_id = $1
ORDER BY connected_at DESC, service
LIMIT 1000
