SELECT l.letter_id, l.kind, l.client_id, l.account_id, l.recipient, l.copies, l.subject, l.body, l.written_at, l.state,
       l.state_at, l.failed_why,
       (SELECT jsonb_agg(jsonb_build_array(a.place, a.name, a.media_type, length(a.content)) ORDER BY a.place)
        FROM office.letter_attachments a WHERE a.letter_id = l.letter_id) AS attachments
FROM office.letters l
WHERE ($1::text IS NULL OR l.client_id = $1)
  AND ($2::text IS NULL OR l.account_id = $2)
  AND ($3::text IS NULL OR l.kind = $3)
  AND ($4::text IS NULL OR l.recipient = $4)
  AND ($5::text IS NULL OR l.state = $5)
  AND ($6::timestamptz IS NULL OR l.written_at >= $6)
  AND ($7::timestamptz IS NULL OR l.written_at < $7)
  AND ($8::bigint IS NULL OR l.letter_id < $8)
ORDER BY l.letter_id DESC
LIMIT $9
