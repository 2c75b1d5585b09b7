c.inn LIKE $4
