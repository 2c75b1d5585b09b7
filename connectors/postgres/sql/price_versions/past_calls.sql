-- Calls that a price list can touch, with what their set-ups asked for. $1, $2: when they ended; $3: the provider, $4:
-- tariff plans of their accounts (null: any); $5: one in so many of them.
SELECT r.cdr_id, r.switch_id, r.service, r.called, r.started_at, r.ended_at, r.account_id, r.place, r.incoming_service,
       r.provider_id, r.answered_at, r.billable_seconds, r.retail_micros, r.wholesale_micros, a.at AS setup_at,
       a.service AS asked_service, a.called AS asked_called, a.place AS asked_place,
       a.incoming_service AS asked_incoming_service
FROM facts.rated_cdrs r
LEFT JOIN LATERAL (
    SELECT t.at, t.service, t.called, t.place, t.incoming_service
    FROM facts.attempts t
    WHERE NOT r.no_attempt AND t.attempt_id = r.attempt_id AND t.kind = 'call_attempt'
      AND t.at > r.started_at - interval '1 day' AND t.at < r.started_at + interval '1 day'
    ORDER BY t.at LIMIT 1
) a ON true
WHERE r.ended_at >= $1 AND r.ended_at < $2 AND r.copy = 0 AND NOT r.emergency AND r.account_id IS NOT NULL
  AND ($3::text IS NULL OR r.provider_id = $3)
  AND ($4::text[] IS NULL OR r.account_id IN (
        SELECT c.account_id FROM office.accounts c WHERE c.tariff_plan_id = ANY ($4)))
  AND ($5 = 1 OR abs(hashtext(r.cdr_id)::bigint) % $5 = 0)
