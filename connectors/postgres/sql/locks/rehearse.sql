-- What a lock on the digits $1 (numbers below $2 begin so; $3: its kind) of the account $4 through the provider $5 would
-- have done to the calls that were set up from $6 until just before $7, by client; $8 are the services that locks know.
-- A provider lock stops a call that had no other route when it was decided, and turns one that went through it to the
-- next of its routes.
WITH asked AS (
    SELECT DISTINCT a.attempt_id, a.at
    FROM facts.attempts a
    WHERE a.kind = 'call_attempt' AND a.called >= $1 AND a.called < $2 AND ($3 = 'prefix' OR a.called = $1)
      AND a.at >= $6 AND a.at < $7 AND a.service = ANY ($8) AND ($4::text IS NULL OR a.account_id = $4)
), decided AS (
    SELECT d.attempt_id, d.account_id,
           CASE WHEN $5::text IS NOT NULL THEN ARRAY(
               SELECT route ->> 'provider_id'
               FROM json_array_elements(convert_from(d.record, 'UTF8')::json -> 'routes') route
           ) END AS ways
    FROM asked
    JOIN facts.decisions d ON d.attempt_id = asked.attempt_id AND d.at = asked.at AND d.extension = 0 AND d.copy = 0
    WHERE d.allow AND NOT d.emergency AND d.at >= $6 AND d.at < $7
), called AS (
    SELECT decided.account_id, decided.ways, max(c.provider_id) AS provider_id,
           coalesce(sum(c.billable_seconds), 0) AS seconds, coalesce(sum(c.retail_micros), 0) AS retail,
           coalesce(sum(c.wholesale_micros), 0) AS wholesale
    FROM decided
    LEFT JOIN facts.rated_cdrs c ON c.attempt_id = decided.attempt_id AND c.copy = 0 AND c.ended_at >= $6
    GROUP BY decided.attempt_id, decided.account_id, decided.ways
), judged AS (
    SELECT account_id, seconds, retail, wholesale,
           $5::text IS NULL OR ways = ARRAY[$5::text] AS stopped,
           $5::text IS NOT NULL AND cardinality(ways) > 1 AND $5 = ANY (ways) AND coalesce(provider_id, ways[1]) = $5 AS rerouted
    FROM called
), by_client AS (
    SELECT clients.client_id, min(clients.name) AS client_name,
           count(*) FILTER (WHERE stopped) AS stopped_calls,
           coalesce(sum(seconds) FILTER (WHERE stopped), 0) AS stopped_seconds,
           coalesce(sum(retail) FILTER (WHERE stopped), 0) AS lost,
           coalesce(sum(wholesale) FILTER (WHERE stopped), 0) AS saved,
           count(*) FILTER (WHERE rerouted) AS rerouted_calls,
           coalesce(sum(seconds) FILTER (WHERE rerouted), 0) AS rerouted_seconds,
           count(*) FILTER (WHERE NOT stopped AND NOT rerouted) AS untouched_calls
    FROM judged LEFT JOIN office.accounts USING (account_id) LEFT JOIN office.clients clients USING (client_id)
    GROUP BY clients.client_id
)
SELECT client_id, client_name, stopped_calls, stopped_seconds::bigint, lost::bigint, saved::bigint, rerouted_calls,
       rerouted_seconds::bigint,
       count(*) FILTER (WHERE stopped_calls + rerouted_calls > 0) OVER () AS affected,
       (sum(stopped_calls) OVER ())::bigint AS all_stopped_calls, (sum(stopped_seconds) OVER ())::bigint AS all_stopped_seconds,
       (sum(lost) OVER ())::bigint AS all_lost, (sum(saved) OVER ())::bigint AS all_saved,
       (sum(rerouted_calls) OVER ())::bigint AS all_rerouted_calls,
       (sum(rerouted_seconds) OVER ())::bigint AS all_rerouted_seconds,
       (sum(untouched_calls) OVER ())::bigint AS all_untouched_calls
FROM by_client
ORDER BY lost DESC, stopped_calls DESC, rerouted_calls DESC, client_id
LIMIT $9
