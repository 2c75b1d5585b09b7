SELECT EXISTS (SELECT FROM access.users WHERE name = $1 AND status = 'active')
