SELECT name, media_type, content FROM office.letter_attachments WHERE letter_id = $1 AND place = $2::bigint
