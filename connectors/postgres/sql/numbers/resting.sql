-- Numbers in quarantine that have rested, $2 of them behind $1, locked: `engine/ncv.py` says how. $3 to $6 are today, the
-- latest collected day, the latest one that lies far enough back, and the beginning of the window; $7 is the last day of
-- the window that nobody closed, $8 the agents' place.
SELECT number, status, account_id, place, region, provider_id, fmtn, joined_on, archived_on, saleable,
    (SELECT max(v.day) FROM facts.ncv v WHERE v.number = n.number AND v.day <= $3::date AND v.calls > 0) AS last_call
FROM office.numbers n
WHERE n.removed_at IS NULL AND n.status = 'archive' AND n.number > $1 AND (
    n.fmtn OR coalesce(n.place, '') = $8
    OR (
        coalesce(n.archived_on, n.joined_on, '-infinity') <= $4::date
        AND coalesce(n.archived_on, n.joined_on, '-infinity') <= $5::date
        AND ($7::date IS NULL OR coalesce(n.archived_on, n.joined_on, '-infinity') > $7::date)
        AND NOT EXISTS (
            SELECT FROM facts.ncv v
            WHERE v.number = n.number AND v.calls > 0 AND v.day <= $3::date
              AND v.day >= greatest($6::date, coalesce(n.archived_on, n.joined_on, '-infinity'))
        )
    )
)
ORDER BY n.number LIMIT $2
FOR NO KEY UPDATE OF n
