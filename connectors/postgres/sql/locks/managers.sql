SELECT name, full_name, role, email, phone, true AS enabled
FROM office.colleagues WHERE role = 'manager' AND status = 'active' AND email IS NOT NULL ORDER BY name
