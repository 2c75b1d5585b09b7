-- Closed days from $1 on, before $2
SELECT day FROM office.ncv_days WHERE day >= $1 AND day < $2 ORDER BY day
