-- The latest days with statistics of any number: up to the day $1, and up to the day $2
SELECT
    greatest(
        (SELECT max(day) FROM office.ncv_days WHERE day <= $1), (SELECT max(day) FROM facts.ncv WHERE day <= $1)
    ) AS latest,
    greatest(
        (SELECT max(day) FROM office.ncv_days WHERE day <= $2), (SELECT max(day) FROM facts.ncv WHERE day <= $2)
    ) AS rested
