SELECT l.letter_id, l.kind, l.client_id, l.account_id, l.recipient, l.copies, l.subject, l.body, l.written_at, l.state,
       l.state_at, l.failed_why,
       (SELECT jsonb_agg(jsonb_build_array(a.place, a.name, a.media_type, length(a.content)) ORDER BY a.place)
        FROM office.letter_attachments a WHERE a.letter_id = l.letter_id) AS attachments
FROM office.letters l
WHERE l.letter_id = $1
