SELECT command_id FROM office.commands WHERE reverses = $1
