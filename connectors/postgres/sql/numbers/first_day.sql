-- The first day with statistics of any number, from $1 to $2
SELECT least(
    (SELECT min(day) FROM office.ncv_days WHERE day BETWEEN $1 AND $2),
    (SELECT min(day) FROM facts.ncv WHERE day BETWEEN $1 AND $2)
)
