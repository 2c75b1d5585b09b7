-- What version $2 changes against version $1 for calls of the moment $3: how many prices of each kind.
SELECT kind, count(*) AS prices, min(percent) AS least_percent, max(percent) AS most_percent,
       round(avg(percent), 2) AS mean_percent
FROM office.price_difference($1, $2, $3) GROUP BY kind ORDER BY kind
