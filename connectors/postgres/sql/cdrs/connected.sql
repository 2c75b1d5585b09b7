SELECT service FROM office.account_services WHERE account_id = $1 AND disconnected_at IS NULL ORDER BY service
