INSERT INTO office.direct_managers (user_name, manager) VALUES ($1, $2)
ON CONFLICT (user_name) DO UPDATE SET manager = excluded.manager
