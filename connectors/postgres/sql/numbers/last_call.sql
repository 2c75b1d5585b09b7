-- The latest day with a call to the number $1, up to the day $2
SELECT max(day) FROM facts.ncv WHERE number = $1 AND day <= $2 AND calls > 0
