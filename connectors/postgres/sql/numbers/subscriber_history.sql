SELECT h.subscriber_id, h.revision, h.at, h.actor, h.why, h.status, s.account_id, s.product
FROM office.subscriber_history h JOIN office.subscribers s USING (subscriber_id)
WHERE s.number = $1 ORDER BY h.at, h.subscriber_id, h.revision
