-- As page.sql, of those alone that nothing has been done about: they have an index of their own, and are few among many.
-- $5 is `open`.
SELECT r.source_partition, r.source_offset, r.recorded_at, r.at, r.topic, r.partition, r.topic_offset, r.reason,
       r.detail, r.event_id, r.account_id, r.payload, r.resubmitted_at, r.resubmitted_by, r.set_aside_at,
       r.set_aside_by, r.set_aside_why
FROM facts.rejected r
WHERE ($1::text IS NULL OR r.topic = $1)
  AND ($2::text IS NULL OR r.reason = $2)
  AND ($3::timestamptz IS NULL OR r.recorded_at >= $3)
  AND ($4::timestamptz IS NULL OR r.recorded_at < $4)
  AND $5::text = 'open' AND r.resubmitted_at IS NULL AND r.set_aside_at IS NULL
  AND ($6::text IS NULL OR r.account_id = $6)
  AND ($7::text IS NULL OR r.event_id = $7)
  AND ($9::timestamptz IS NULL OR (r.recorded_at, r.source_partition, r.source_offset) < ($9, $10::integer, $11::bigint))
ORDER BY r.recorded_at DESC, r.source_partition DESC, r.source_offset DESC
LIMIT $8
