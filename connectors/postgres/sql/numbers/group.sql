SELECT g.member, c.email, c.status = 'active' AS enabled
FROM office.number_groups g JOIN office.colleagues c ON c.name = g.member WHERE g.group_name = $1 ORDER BY g.member
