-- Numbers in their order behind $1, $2 of them: of the statuses $3, a region $4, a provider $5, whose digits are like $6,
-- of the availabilities $7. What a sign is decided by are the days $8 to $11: today, the latest collected one, the latest
-- one that lies far enough back, and the beginning of the window; `engine/ncv.py` says how. $12 is the agents' place.
WITH found AS NOT MATERIALIZED (
    SELECT n.number, n.status, n.account_id, n.place, n.region, n.provider_id, n.fmtn, n.joined_on, n.archived_on,
        n.saleable, coalesce(n.archived_on, n.joined_on, '-infinity') AS since
    FROM office.numbers n
    WHERE n.removed_at IS NULL AND n.number > $1 AND n.status = ANY ($3::text[])
      AND ($4::text IS NULL OR n.region = $4) AND ($5::text IS NULL OR n.provider_id = $5)
      AND ($6::text IS NULL OR n.number LIKE $6) /* rare */
)
SELECT number, status, account_id, place, region, provider_id, fmtn, joined_on, archived_on, saleable,
    (SELECT max(v.day) FROM facts.ncv v WHERE v.number = found.number AND v.day <= $8::date AND v.calls > 0) AS last_call
FROM found
WHERE $7::text[] IS NULL OR status <> 'in_use' AND CASE
    WHEN saleable <> 'depends_on_ncv' THEN saleable = ANY ($7)
    WHEN fmtn OR coalesce(place, '') = $12 THEN 'ncv_ignored' = ANY ($7)
    WHEN $9::date IS NULL OR since > $9::date THEN 'no_data' = ANY ($7)
    WHEN $10::date IS NULL OR since > $10::date THEN 'insufficient_data' = ANY ($7)
    WHEN 'has_ncv' = ANY ($7) AND 'no_ncv' = ANY ($7) THEN true
    WHEN 'has_ncv' = ANY ($7) OR 'no_ncv' = ANY ($7) THEN ('has_ncv' = ANY ($7)) = EXISTS (
        SELECT FROM facts.ncv v
        WHERE v.number = found.number AND v.day >= greatest($11::date, since) AND v.day <= $8::date AND v.calls > 0
    )
    ELSE false
END
ORDER BY number LIMIT $2
