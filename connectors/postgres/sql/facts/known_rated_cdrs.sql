-- Which of these CDRs are there already. $1 ids, $2 moments of their end
SELECT r.cdr_id, r.ended_at
FROM unnest($1::text[], $2::timestamptz[]) AS k (cdr_id, ended_at)
JOIN facts.rated_cdrs AS r ON r.cdr_id = k.cdr_id AND r.ended_at = k.ended_at AND r.copy = 0
