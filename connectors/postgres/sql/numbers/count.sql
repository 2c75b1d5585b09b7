-- How many numbers a search finds, counted up to $1; $2 to $11 are $3 to $12 of search.sql
WITH found AS NOT MATERIALIZED (
    SELECT n.number, n.status, n.account_id, n.place, n.region, n.provider_id, n.fmtn, n.joined_on, n.archived_on,
        n.saleable, coalesce(n.archived_on, n.joined_on, '-infinity') AS since
    FROM office.numbers n
    WHERE n.removed_at IS NULL AND n.status = ANY ($2::text[])
      AND ($3::text IS NULL OR n.region = $3) AND ($4::text IS NULL OR n.provider_id = $4)
      AND ($5::text IS NULL OR n.number LIKE $5)
)
SELECT count(*) FROM (SELECT FROM found
WHERE $6::text[] IS NULL OR status <> 'in_use' AND CASE
    WHEN saleable <> 'depends_on_ncv' THEN saleable = ANY ($6)
    WHEN fmtn OR coalesce(place, '') = $11 THEN 'ncv_ignored' = ANY ($6)
    WHEN $8::date IS NULL OR since > $8::date THEN 'no_data' = ANY ($6)
    WHEN $9::date IS NULL OR since > $9::date THEN 'insufficient_data' = ANY ($6)
    WHEN 'has_ncv' = ANY ($6) AND 'no_ncv' = ANY ($6) THEN true
    WHEN 'has_ncv' = ANY ($6) OR 'no_ncv' = ANY ($6) THEN ('has_ncv' = ANY ($6)) = EXISTS (
        SELECT FROM facts.ncv v
        WHERE v.number = found.number AND v.day >= greatest($10::date, since) AND v.day <= $7::date AND v.calls > 0
    )
    ELSE false
END
LIMIT $1) AS counted
