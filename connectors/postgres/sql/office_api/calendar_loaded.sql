-- The periods that a calendar was loaded for, as far as they touch $1 to $2; both ends belong to them.
SELECT lower(period) AS since, upper(period) - 1 AS until
FROM office.calendar_loaded, unnest(days * datemultirange(daterange($1, $2, '[]'))) AS period
ORDER BY 1
