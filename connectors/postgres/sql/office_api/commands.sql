SELECT command_id, kind, account_id, at, amount_micros, reference, source, reason, reverses, author, ordered_at, state, state_at,
       rejected_why
FROM office.commands
WHERE account_id = $1 AND kind = ANY ($2)
  AND ($3::timestamptz IS NULL OR at >= $3)
  AND ($4::timestamptz IS NULL OR at < $4)
  AND ($5::timestamptz IS NULL OR (at, command_id) < ($5, $6))
ORDER BY at DESC, command_id DESC
LIMIT $7
