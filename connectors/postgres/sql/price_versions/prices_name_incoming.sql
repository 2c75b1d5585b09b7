-- Whether any price names the incoming service $1; as prices_name_place.sql.
SELECT EXISTS (SELECT FROM office.prices WHERE incoming_service = $1)
