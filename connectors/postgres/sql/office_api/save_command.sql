INSERT INTO office.commands (
    command_id, kind, account_id, at, amount_micros, reference, source, reason, reverses, author, ordered_at
) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
