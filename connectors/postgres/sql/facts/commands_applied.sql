-- What the office ordered has been carried out. $1 command ids, $2 when
UPDATE office.commands AS c SET state = 'applied', state_at = u.at, rejected_why = NULL
FROM unnest($1::text[], $2::timestamptz[]) AS u (command_id, at)
WHERE c.command_id = u.command_id AND c.state <> 'applied'
