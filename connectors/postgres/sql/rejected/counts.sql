-- How many are still to be seen to, by topic and reason, and since when.
SELECT topic, reason, count(*) AS events, min(recorded_at) AS oldest, max(recorded_at) AS newest
FROM facts.rejected WHERE resubmitted_at IS NULL AND set_aside_at IS NULL
GROUP BY topic, reason ORDER BY topic, reason
