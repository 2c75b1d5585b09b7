-- Rejected events of an attempt id ($1), and CDRs that name it ($4: its bytes) among those of its account ($2) since $3.
SELECT source_partition, source_offset, recorded_at, topic, reason, resubmitted_at, set_aside_at FROM facts.rejected
WHERE event_id = $1
UNION
SELECT source_partition, source_offset, recorded_at, topic, reason, resubmitted_at, set_aside_at FROM facts.rejected
WHERE topic = 'cdrs' AND account_id = $2 AND recorded_at >= $3 AND recorded_at < $3 + interval '3 days'
  AND position($4::bytea IN payload) > 0
ORDER BY recorded_at, source_partition, source_offset
LIMIT 100
