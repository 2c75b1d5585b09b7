-- Where the mask begins with %: the digits are looked at in the index alone, and only numbers that match are read.
(
    SELECT c.number FROM office.numbers c WHERE c.number > $1 AND c.number LIKE $6 /* by */ ORDER BY c.number OFFSET 0
) AS c
JOIN LATERAL (SELECT * FROM office.numbers o WHERE o.number = c.number OFFSET 0) AS n ON true
