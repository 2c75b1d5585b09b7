-- Months before the one that begins at $1, but for those that the database keeps whatever it is asked.
SELECT partition, first_day, estimated_rows
FROM facts.old_months(least($1::date, (date_trunc('month', now()) - interval '12 months')::date))
