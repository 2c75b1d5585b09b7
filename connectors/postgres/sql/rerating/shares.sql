-- What a run ($1) changes for an account ($2), by service and provider.
SELECT service, provider_id,
       sum(coalesce(new_retail_micros, 0) - coalesce(old_retail_micros, 0))::bigint AS retail_more_micros,
       sum(coalesce(new_wholesale_micros, 0) - coalesce(old_wholesale_micros, 0))::bigint AS wholesale_more_micros
FROM books.rerating_items
WHERE rerating_id = $1 AND account_id = $2 AND problem IS NULL
GROUP BY service, provider_id ORDER BY service, provider_id
