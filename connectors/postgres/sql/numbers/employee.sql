SELECT name, email, status = 'active' AS enabled FROM office.colleagues WHERE name = $1
