-- Accounts of re-ratings whose orders and postings are not what their items come to, and those whose order the engine has
-- rejected. $1 at most so many
WITH of_items AS (
    SELECT rerating_id, account_id, count(*) AS items,
        sum(coalesce(new_retail_micros, 0) - coalesce(old_retail_micros, 0)) AS retail,
        sum(coalesce(new_wholesale_micros, 0) - coalesce(old_wholesale_micros, 0)) AS wholesale
    FROM books.rerating_items WHERE problem IS NULL GROUP BY 1, 2
), of_postings AS (
    -- What was taken back goes the other way.
    SELECT rerating_id, account_id,
        sum(amount_micros * CASE WHEN debit_kind = 'correction' THEN 1 WHEN credit_kind = 'correction' THEN -1 ELSE 0 END) AS retail,
        sum(amount_micros * CASE WHEN debit_kind = 'cost' THEN 1 WHEN credit_kind = 'cost' THEN -1 ELSE 0 END) AS wholesale
    FROM books.rerating_postings GROUP BY 1, 2
)
SELECT a.rerating_id, a.account_id, v.what, v.expected_micros::bigint, v.found_micros::bigint
FROM books.rerating_accounts a
LEFT JOIN of_items i ON i.rerating_id = a.rerating_id AND i.account_id = a.account_id
LEFT JOIN of_postings p ON p.rerating_id = a.rerating_id AND p.account_id = a.account_id
LEFT JOIN office.commands c ON c.command_id = a.command_id
LEFT JOIN office.commands b ON b.command_id = a.back_command_id
CROSS JOIN LATERAL (VALUES
    ('calls', i.items, a.items::bigint),
    ('retail', i.retail, (a.new_retail_micros - a.old_retail_micros)::numeric),
    ('wholesale', i.wholesale, (a.new_wholesale_micros - a.old_wholesale_micros)::numeric),
    ('revenue', CASE a.state WHEN 'posted' THEN i.retail ELSE 0 END, coalesce(p.retail, 0)),
    ('cost', CASE a.state WHEN 'posted' THEN i.wholesale ELSE 0 END, coalesce(p.wholesale, 0)),
    ('order', CASE WHEN a.state = 'previewed' OR a.account_id = '' THEN 0 ELSE -i.retail END,
     coalesce(c.amount_micros, 0)::numeric),
    ('order back', CASE WHEN b.command_id IS NULL THEN 0 ELSE i.retail END, coalesce(b.amount_micros, 0)::numeric),
    ('rejected', CASE WHEN a.state = 'posted' AND c.state = 'rejected' THEN c.amount_micros ELSE 0 END, 0::numeric),
    ('rejected back', CASE WHEN b.state = 'rejected' THEN b.amount_micros ELSE 0 END, 0::numeric)
) AS v (what, expected_micros, found_micros)
WHERE v.expected_micros IS DISTINCT FROM v.found_micros
ORDER BY a.rerating_id, a.place
LIMIT $1
