-- Partitions for these months. $1 days in them
SELECT facts.ensure_month(month), books.ensure_month(month) FROM unnest($1::date[]) AS month
