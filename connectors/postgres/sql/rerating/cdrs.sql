-- A slice of the calls of a service, with all that their rating asks for. $1 service, $2 account, $3 prefix (null: any),
-- $4 ended then or later, after the place ($6, $7) where that is the moment, $5 ended before that, $8 at most so many
WITH slice AS MATERIALIZED (
    SELECT ended_at, cdr_id, copy, record, attempt_id, account_id, no_attempt, started_at, source_partition, recorded_at,
           reference_version
    FROM facts.rated_cdrs
    WHERE service = $1 AND ($2::text IS NULL OR account_id = $2) AND ($3::text IS NULL OR starts_with(called, $3))
      AND ended_at >= $4 AND ended_at < $5 AND (ended_at, cdr_id, copy) > ($4, $6, $7)
    ORDER BY ended_at, cdr_id, copy LIMIT $8
)
SELECT s.ended_at, s.cdr_id, s.copy, s.record, s.reference_version, d.record AS decision, a.record AS attempt,
       o.payload AS account, c.rerating_id AS corrects, c.new_charges AS corrected
FROM slice s
LEFT JOIN LATERAL (
    -- The decision on the attempt that its partition made last before the CDR came.
    SELECT t.record, t.at, t.source_partition FROM facts.decisions t
    WHERE NOT s.no_attempt AND t.attempt_id = s.attempt_id AND t.extension = 0 AND NOT t.repeated
      AND t.source_partition = s.source_partition AND t.recorded_at <= s.recorded_at
      AND t.at > s.started_at - interval '3 days' AND t.at < s.started_at + interval '3 days'
    ORDER BY t.recorded_at DESC, t.source_offset DESC LIMIT 1
) d ON true
LEFT JOIN LATERAL (
    SELECT t.record FROM facts.attempts t
    WHERE t.attempt_id = s.attempt_id AND t.kind = 'call_attempt' AND t.at = d.at
      AND t.source_partition = d.source_partition
      AND NOT EXISTS (
        SELECT FROM facts.rejected r
        WHERE r.event_id = t.attempt_id AND r.topic = 'call-attempts' AND r.partition = t.source_partition
          AND r.topic_offset = t.source_offset
      )
    ORDER BY t.source_offset LIMIT 1
) a ON true
LEFT JOIN LATERAL (
    -- The account as it was under the version of the set-up.
    SELECT t.payload FROM plumbing.outbox t
    WHERE t.kind = 'account' AND t.key = s.account_id AND t.reference_version <= s.reference_version
    ORDER BY t.reference_version DESC, t.seq DESC LIMIT 1
) o ON true
LEFT JOIN LATERAL books.correction_of(s.cdr_id, s.ended_at, s.copy) c ON true
ORDER BY s.ended_at, s.cdr_id, s.copy
