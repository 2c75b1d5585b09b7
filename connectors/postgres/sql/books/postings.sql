-- Postings of a client's account, the latest business day first and on a day what was booked last: $2, $3 the first and the
-- last day, $4 to $7 behind which posting (day, moment of booking, cause, offset of its record), $8 how many, $9 who ordered
-- what came past the office.
-- A record of the engine's makes one posting of an account; where it came from tells it from all others.
SELECT t.day, t.recorded_at, t.cause, t.cause_id, t.source_offset, t.balance_after_micros, o.kind AS against, o.owner AS against_owner,
       CASE WHEN c.kind = 'client' THEN t.amount_micros ELSE -t.amount_micros END AS amount_micros,
       coalesce(m.at, r.ended_at) AS at, m.reference, coalesce(w.reason, m.reason) AS reason,
       CASE WHEN m.kind IS NULL OR m.kind = 'opening' THEN NULL ELSE coalesce(w.author, $9) END AS author
FROM (
    SELECT * FROM books.transfers
    WHERE account_id = $1
      AND ($2::date IS NULL OR day >= $2) AND ($3::date IS NULL OR day <= $3)
      AND ($4::date IS NULL OR (day <= $4 AND (day, recorded_at, cause, source_offset) < ($4, $5::timestamptz, $6::text, $7::bigint)))
    ORDER BY day DESC, recorded_at DESC, cause DESC, source_offset DESC
    LIMIT $8
) t
JOIN books.accounts c ON c.ledger_id = t.credit
JOIN books.accounts d ON d.ledger_id = t.debit
CROSS JOIN LATERAL (
    SELECT CASE WHEN c.kind = 'client' THEN d.kind ELSE c.kind END AS kind,
           CASE WHEN c.kind = 'client' THEN d.owner ELSE c.owner END AS owner
) o
LEFT JOIN facts.movements m
    ON t.cause <> 'rated_cdr' AND m.source_partition = t.source_partition AND m.source_offset = t.source_offset
LEFT JOIN office.commands w ON w.command_id = m.cause_id
LEFT JOIN LATERAL (
    -- The day is the business day of the call's end: so one or two months are looked at.
    SELECT ended_at FROM facts.rated_cdrs
    WHERE t.cause = 'rated_cdr' AND cdr_id = t.cause_id AND source_offset = t.source_offset
      AND ended_at >= t.day - interval '1 day' AND ended_at < t.day + interval '2 days'
    LIMIT 1
) r ON true
ORDER BY t.day DESC, t.recorded_at DESC, t.cause DESC, t.source_offset DESC
