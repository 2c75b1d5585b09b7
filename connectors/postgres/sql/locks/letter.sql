INSERT INTO office.letters (kind, once_key, account_id, recipient, copies, subject, body, written_at)
VALUES ('lock_question', $1, $2, $3, $4, $5, $6, $7) RETURNING letter_id
