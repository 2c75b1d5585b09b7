INSERT INTO office.ncv_days (day, closed_at, closed_by, why, called_numbers, calls) VALUES ($1, $2, $3, $4, $5, $6)
