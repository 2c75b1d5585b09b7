-- What the office ordered was refused. $1 command ids, $2 when, $3 why
UPDATE office.commands AS c SET state = 'rejected', state_at = u.at, rejected_why = u.why
FROM unnest($1::text[], $2::timestamptz[], $3::text[]) AS u (command_id, at, why)
WHERE c.command_id = u.command_id AND c.state = 'ordered'
