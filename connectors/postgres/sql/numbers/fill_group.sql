INSERT INTO office.number_groups (group_name, member) SELECT $1, unnest($2::text[])
