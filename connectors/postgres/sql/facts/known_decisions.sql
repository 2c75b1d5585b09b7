-- Which of these decisions are there already. $1 attempt ids, $2 moments, $3 extensions
SELECT d.attempt_id, d.at, d.extension
FROM unnest($1::text[], $2::timestamptz[], $3::integer[]) AS k (attempt_id, at, extension)
JOIN facts.decisions AS d
    ON d.attempt_id = k.attempt_id AND d.at = k.at AND d.extension = k.extension AND d.copy = 0
