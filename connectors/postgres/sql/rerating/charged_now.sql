-- The calls of a run's items as they stand now, in the order of the items.
SELECT i.place, i.cdr_id, i.ended_at, i.copy, sha256(r.record) AS cdr_hash, c.rerating_id AS corrects,
       CASE WHEN c.rerating_id IS NULL THEN r.retail_micros ELSE c.new_retail_micros END AS retail_micros,
       CASE WHEN c.rerating_id IS NULL THEN r.wholesale_micros ELSE c.new_wholesale_micros END AS wholesale_micros,
       i.cdr_hash IS DISTINCT FROM sha256(r.record) OR i.corrects IS DISTINCT FROM c.rerating_id AS differs
FROM books.rerating_items i
LEFT JOIN facts.rated_cdrs r ON r.cdr_id = i.cdr_id AND r.ended_at = i.ended_at AND r.copy = i.copy
LEFT JOIN LATERAL books.correction_of(i.cdr_id, i.ended_at, i.copy) c ON true
WHERE i.rerating_id = $1 AND i.problem IS NULL
ORDER BY i.place
