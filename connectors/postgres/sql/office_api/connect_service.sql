INSERT INTO office.account_services (account_id, service, product, connected_at, connected_by) VALUES ($1, $2, $3, $4, $5)
