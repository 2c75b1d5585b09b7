-- Transfers that are not what their facts say, facts without their transfers, and transfers without their facts.
-- $1 the first business day, $2 the operator's time zone, $3 kinds of movements, $4 what each of them moves against,
-- $5 at most so many
WITH sides AS (
    SELECT
        source_partition, source_offset, false AS bought, 'rated_cdr' AS cause, cdr_id AS cause_id, account_id,
        ended_at AS at, -retail_micros AS effect, 'client' AS kind, account_id AS owner, 'revenue' AS other_kind,
        service AS other_owner, balance_after_micros
    FROM facts.rated_cdrs WHERE retail_micros <> 0
    UNION ALL
    SELECT
        source_partition, source_offset, true, 'rated_cdr', cdr_id, NULL, ended_at, wholesale_micros, 'payable',
        provider_id, 'cost', service, NULL
    FROM facts.rated_cdrs WHERE wholesale_micros <> 0
    UNION ALL
    SELECT
        m.source_partition, m.source_offset, false, m.kind, m.cause_id, m.account_id, m.at, m.amount_micros, 'client',
        m.account_id, k.against, '', m.balance_after_micros
    FROM facts.movements AS m LEFT JOIN unnest($3::text[], $4::text[]) AS k (kind, against) ON k.kind = m.kind
    WHERE m.amount_micros <> 0
), expected AS (
    SELECT
        source_partition, source_offset, bought, cause, cause_id, account_id,
        (at AT TIME ZONE $2)::date AS day, abs(effect) AS amount_micros,
        CASE WHEN effect > 0 THEN other_kind ELSE kind END AS debit_kind,
        CASE WHEN effect > 0 THEN other_owner ELSE owner END AS debit_owner,
        CASE WHEN effect > 0 THEN kind ELSE other_kind END AS credit_kind,
        CASE WHEN effect > 0 THEN owner ELSE other_owner END AS credit_owner,
        balance_after_micros
    FROM sides
    WHERE at >= ($1::date::timestamp AT TIME ZONE $2)
    UNION ALL
    -- The office's own: revenue and cost of calls that were rated again.
    SELECT
        -1, posting_id, true, 'correction', cause_id, NULL, (at AT TIME ZONE $2)::date, amount_micros, debit_kind,
        debit_owner, credit_kind, credit_owner, NULL
    FROM books.rerating_postings
    WHERE at >= ($1::date::timestamp AT TIME ZONE $2)
), found AS (
    SELECT
        t.source_partition, t.source_offset, t.account_id IS NULL AS bought, t.cause, t.cause_id, t.account_id,
        t.day, t.amount_micros, d.kind AS debit_kind, d.owner AS debit_owner, c.kind AS credit_kind,
        c.owner AS credit_owner, t.balance_after_micros
    FROM books.transfers AS t
    LEFT JOIN books.accounts AS d ON d.ledger_id = t.debit
    LEFT JOIN books.accounts AS c ON c.ledger_id = t.credit
    WHERE t.day >= $1
)
SELECT
    coalesce(e.account_id, f.account_id) AS account_id, coalesce(e.cause, f.cause) AS cause,
    coalesce(e.cause_id, f.cause_id) AS cause_id, coalesce(e.bought, f.bought) AS bought,
    e.amount_micros AS expected_micros, f.amount_micros AS found_micros,
    concat_ws(' ', e.debit_kind, e.debit_owner, '→', e.credit_kind, e.credit_owner) AS expected_way,
    concat_ws(' ', f.debit_kind, f.debit_owner, '→', f.credit_kind, f.credit_owner) AS found_way,
    e.day AS expected_day, f.day AS found_day,
    e.balance_after_micros AS expected_after_micros, f.balance_after_micros AS found_after_micros
FROM expected AS e
FULL JOIN found AS f
    ON e.source_partition = f.source_partition AND e.source_offset = f.source_offset AND e.bought = f.bought
    AND (e.cause = 'rated_cdr') = (f.cause = 'rated_cdr')
WHERE (e.cause, e.cause_id, e.account_id, e.day, e.amount_micros, e.debit_kind, e.debit_owner, e.credit_kind,
       e.credit_owner, e.balance_after_micros)
    IS DISTINCT FROM
      (f.cause, f.cause_id, f.account_id, f.day, f.amount_micros, f.debit_kind, f.debit_owner, f.credit_kind,
       f.credit_owner, f.balance_after_micros)
LIMIT $5
