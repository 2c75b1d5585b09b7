SELECT service, product, connected_at FROM office.account_services
WHERE account_id = $1 AND disconnected_at IS NULL ORDER BY service
