-- Whether all is known of the day $1 that ended at $2 and began at $3: all calls until then were worked off and projected,
-- no counter waits aside, and none was lost since the day began. And what the counters of the day come to.
SELECT
    EXISTS (SELECT FROM office.ncv_days WHERE day = $1) AS closed,
    EXISTS (SELECT FROM facts.known) AS begun,
    EXISTS (SELECT FROM facts.known WHERE until >= $2) AS heard,
    (SELECT count(*) FROM facts.unprojected WHERE topic = $4) AS laid_aside,
    (SELECT count(*) FROM facts.gaps WHERE topic = $4 AND found_at >= $3) AS lost,
    (SELECT count(*) FROM facts.ncv WHERE day = $1)::integer AS called_numbers,
    (SELECT coalesce(sum(calls), 0) FROM facts.ncv WHERE day = $1)::bigint AS calls
