SELECT day, kind, name FROM office.calendar
WHERE ($1::date IS NULL OR day >= $1) AND ($2::date IS NULL OR day <= $2)
ORDER BY day
