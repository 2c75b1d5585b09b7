UPDATE access.users SET role = $2, full_name = $3, email = $4, phone = $5, status = $6 WHERE name = $1
