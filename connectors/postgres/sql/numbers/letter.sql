INSERT INTO office.letters (kind, once_key, client_id, recipient, copies, subject, body, written_at)
VALUES ('number_request', $1, $2, $3, $4, $5, $6, $7)
