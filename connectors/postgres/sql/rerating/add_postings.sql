-- Each is booked as it is written. $1 run, $2 account, $3 taken back, $4 when, $5 business day, $6 cause, then the transfers
INSERT INTO books.rerating_postings (
    rerating_id, account_id, back, debit_kind, debit_owner, credit_kind, credit_owner, amount_micros, at, day, cause_id
)
SELECT $1, $2, $3, t.debit_kind, t.debit_owner, t.credit_kind, t.credit_owner, t.amount_micros, $4, $5, $6
FROM unnest($7::text[], $8::text[], $9::text[], $10::text[], $11::bigint[])
    AS t (debit_kind, debit_owner, credit_kind, credit_owner, amount_micros)
