-- Unwanted calls to the number $1 from the day $2 on, which begins at the moment $3, but those of the callers $4.
-- How many there were is in the counters; who called, in the attempts. Callers without digits are one.
WITH counted AS (
    SELECT coalesce(sum(calls), 0) AS calls, coalesce(max(unique_callers), 0) AS most
    FROM facts.ncv WHERE number = $1 AND day >= $2
),
callers AS (
    SELECT coalesce(regexp_replace(a.caller, '[^0-9]', '', 'g'), '') AS digits, count(DISTINCT a.attempt_id) AS calls
    FROM facts.attempts a
    WHERE a.kind = 'call_attempt' AND a.called = $1 AND a.at >= $3 AND a.account_id IS NULL
      AND EXISTS (
          SELECT FROM facts.decisions d
          WHERE d.attempt_id = a.attempt_id AND d.extension = 0 AND d.reason = 'number_not_in_use' AND d.at >= $3
      )
    GROUP BY 1
)
SELECT
    (SELECT calls FROM counted)::bigint AS calls,
    greatest(
        (SELECT most FROM counted), (SELECT count(*) FROM callers WHERE digits <> ALL ($4::text[]))
    )::integer AS unique_callers,
    coalesce((SELECT calls FROM callers WHERE digits = ''), 0)::integer AS without_number
