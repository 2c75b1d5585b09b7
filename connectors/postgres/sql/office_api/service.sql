SELECT account_id, service, product, connected_at, connected_by, disconnected_at, disconnected_by
FROM office.account_services WHERE account_id = $1 AND service = $2 AND disconnected_at IS NULL
FOR UPDATE
