-- A rejected event ($1, $2: where it stands on its topic). Whoever is to change it holds it until the end (see lock.sql).
SELECT r.source_partition, r.source_offset, r.recorded_at, r.at, r.topic, r.partition, r.topic_offset, r.reason,
       r.detail, r.event_id, r.account_id, r.payload, r.resubmitted_at, r.resubmitted_by, r.set_aside_at,
       r.set_aside_by, r.set_aside_why
FROM facts.rejected r WHERE r.source_partition = $1 AND r.source_offset = $2
