-- What the books come to, by kinds of accounts of the ledger: debit and credit.
WITH sides AS (
    SELECT debit AS ledger_id, sum(amount_micros) AS debit_micros, 0::numeric AS credit_micros
    FROM books.transfers GROUP BY debit
    UNION ALL
    SELECT credit, 0, sum(amount_micros) FROM books.transfers GROUP BY credit
)
SELECT a.kind, sum(debit_micros) AS debit_micros, sum(credit_micros) AS credit_micros
FROM sides JOIN books.accounts AS a USING (ledger_id)
GROUP BY a.kind
ORDER BY a.kind
