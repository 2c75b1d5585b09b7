-- Events that wait in the outbox though the engine has handled them: a former relay sent them and did not come to mark
-- them. What had been handled before it was submitted again would not have been submitted.
SELECT o.seq
FROM plumbing.outbox o
WHERE o.published_at IS NULL AND o.kind = 'event' AND (
    (o.payload ->> 'topic' = 'cdrs' AND EXISTS (
        SELECT FROM facts.rated_cdrs r WHERE r.cdr_id = o.payload ->> 'event_id'))
    OR (o.payload ->> 'type' = 'call_attempt' AND EXISTS (
        SELECT FROM facts.decisions d WHERE d.attempt_id = o.payload ->> 'event_id'))
)
