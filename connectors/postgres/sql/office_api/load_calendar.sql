WITH wanted AS (
    SELECT * FROM unnest($3::date[], $4::text[], $5::text[]) AS w (day, kind, name)
), gone AS (
    DELETE FROM office.calendar WHERE day BETWEEN $1 AND $2 AND day NOT IN (SELECT day FROM wanted)
), loaded AS (
    UPDATE office.calendar_loaded SET days = days + datemultirange(daterange($1, $2, '[]'))
)
INSERT INTO office.calendar (day, kind, name) SELECT day, kind, name FROM wanted
ON CONFLICT (day) DO UPDATE SET kind = excluded.kind, name = excluded.name
