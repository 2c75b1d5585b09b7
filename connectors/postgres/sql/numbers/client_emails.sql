SELECT emails FROM office.clients WHERE client_id = $1
