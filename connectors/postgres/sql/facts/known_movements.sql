-- Which of these movements are there already. $1 causes, $2 accounts, $3 kinds
SELECT m.cause_id, m.account_id, m.kind
FROM unnest($1::text[], $2::text[], $3::text[]) AS k (cause_id, account_id, kind)
JOIN facts.movements AS m
    ON m.cause_id = k.cause_id AND m.account_id = k.account_id AND m.kind = k.kind AND m.copy = 0
