SELECT k.check_id, k.kind, k.at, k.asked_at, k.asked_by, k.parameters, k.stage, k.done, k.total, k.ended_at, k.result,
       k.failure,
       CASE WHEN k.state = 'running' AND k.beat_at < now() - interval '1 minute' THEN 'lost' ELSE k.state END AS state
FROM office.price_checks k
WHERE k.version_id = $1 AND k.kind = $2 AND ($3::bigint IS NULL OR k.check_id = $3)
ORDER BY k.check_id DESC LIMIT 1
