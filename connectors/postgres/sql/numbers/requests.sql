-- Requests, the newest first: of a state $1 ('open': those that wait), a desk $2, a number $3, an asker $4, that $5 may
-- answer; $8 rows behind ($6, $7)
SELECT request_id, number, state, department, desk, asked_at, asked_on, asked_by, reason, calls, unique_callers,
    criterion, client_id, copy_to, told_callers, consent, decided_at, decided_by, decision, decided_callers, ended_at
FROM office.number_requests r
WHERE ($1::text IS NULL OR state = $1 OR ($1 = 'open' AND state IN ('waiting_for_client', 'waiting')))
  AND ($2::text IS NULL OR desk = $2) AND ($3::text IS NULL OR number = $3) AND ($4::text IS NULL OR asked_by = $4)
  AND ($5::text IS NULL OR state = 'waiting' AND asked_by <> $5 AND (
      EXISTS (SELECT FROM office.number_groups g WHERE g.group_name = r.desk AND g.member = $5)
      OR desk = 'direct_manager'
      AND EXISTS (SELECT FROM office.direct_managers m WHERE m.user_name = r.asked_by AND m.manager = $5)
  ))
  AND ($6::timestamptz IS NULL OR (asked_at, request_id) < ($6, $7::text))
ORDER BY asked_at DESC, request_id DESC LIMIT $8
