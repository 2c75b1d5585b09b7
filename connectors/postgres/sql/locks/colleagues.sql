SELECT name, full_name, role, email, phone, status = 'active' AS enabled
FROM office.colleagues WHERE name = ANY ($1)
