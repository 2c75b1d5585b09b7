-- Which of some commands ($1) the office has ordered.
SELECT command_id, kind FROM office.commands WHERE command_id = ANY ($1)
