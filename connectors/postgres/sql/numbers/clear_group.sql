DELETE FROM office.number_groups WHERE group_name = $1
