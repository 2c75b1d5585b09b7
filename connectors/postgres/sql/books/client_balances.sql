-- What each client's account of the ledger comes to, beside the row of its balance, partition by partition.
-- The ledger's accounts themselves are summed up, not the account that a transfer names beside them.
WITH moved AS (
    SELECT ledger_id, max(source_partition) AS source_partition, sum(amount_micros) AS booked_micros
    FROM (
        SELECT credit AS ledger_id, source_partition, amount_micros FROM books.transfers
        UNION ALL
        SELECT debit, source_partition, -amount_micros FROM books.transfers
    ) AS sides
    GROUP BY ledger_id
), booked AS (
    SELECT a.owner AS account_id, m.source_partition, m.booked_micros
    FROM moved AS m JOIN books.accounts AS a ON a.ledger_id = m.ledger_id
    WHERE a.kind = 'client'
)
SELECT
    coalesce(f.source_partition, b.source_partition) AS source_partition, account_id,
    coalesce(b.booked_micros, 0) AS booked_micros, f.source_offset, f.balance_micros, f.held_micros, f.running_calls,
    f.status
FROM booked AS b FULL JOIN facts.balances AS f USING (account_id)
ORDER BY 1
