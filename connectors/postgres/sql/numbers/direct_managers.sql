SELECT user_name, manager FROM office.direct_managers ORDER BY user_name
