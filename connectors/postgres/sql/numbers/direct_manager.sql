SELECT m.manager, c.email, c.status = 'active' AS enabled
FROM office.direct_managers m JOIN office.colleagues c ON c.name = m.manager WHERE m.user_name = $1
