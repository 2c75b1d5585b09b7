DELETE FROM office.direct_managers WHERE user_name = $1
