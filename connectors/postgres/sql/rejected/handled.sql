-- What the engine has made of events with an id: $1 CDRs, $2 attempts.
SELECT 'rated' AS how, r.cdr_id AS event_id, min(r.recorded_at) AS at FROM facts.rated_cdrs r
WHERE r.cdr_id = ANY ($1) GROUP BY r.cdr_id
UNION ALL
SELECT 'decided', d.attempt_id, min(d.recorded_at) FROM facts.decisions d
WHERE d.attempt_id = ANY ($2) GROUP BY d.attempt_id
