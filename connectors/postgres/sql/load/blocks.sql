INSERT INTO office.account_blocks (account_id, blocked_at, blocked_by, reason)
SELECT account_id, $2, $3, $4 FROM unnest($1::text[]) AS account_id
