-- A query of its own for each way to ask, so that each is planned for its index.
SELECT ended_at, started_at, answered_at, cdr_id, copy, attempt_id, account_id, service, caller, called, provider_id, place,
       billable_seconds, retail_micros, wholesale_micros, margin_micros, cause, late, no_attempt, denied, emergency
FROM facts.rated_cdrs
WHERE service = $1 AND account_id = $2
  AND ended_at >= $3 AND ended_at < $4
  AND ended_at <= $5 AND (ended_at, cdr_id, copy) < ($5, $6, $7)
ORDER BY ended_at DESC, cdr_id DESC, copy DESC
LIMIT $8
