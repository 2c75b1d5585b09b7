c.inn LIKE $4 AND c.inn BETWEEN $5 AND $6
