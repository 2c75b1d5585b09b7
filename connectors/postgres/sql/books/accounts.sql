-- $1 kinds, $2 owners
SELECT a.ledger_id, a.kind, a.owner
FROM unnest($1::text[], $2::text[]) AS w (kind, owner)
JOIN books.accounts AS a ON a.kind = w.kind AND a.owner = w.owner
