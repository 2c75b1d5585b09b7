-- All changes of an account's balance in the books. $1 account
SELECT
    t.cause, t.cause_id, CASE WHEN c.kind = 'client' THEN t.amount_micros ELSE -t.amount_micros END AS effect_micros,
    t.balance_after_micros
FROM books.transfers AS t
JOIN books.accounts AS c ON c.ledger_id = t.credit
WHERE t.account_id = $1
ORDER BY t.day, t.source_partition, t.source_offset
