INSERT INTO office.clients (
    client_id, kind, name, surname, given_name, patronymic, city, inn, kpp, legal_address, phones, emails, manager, seller,
    region, comment, search_words, created_at, created_by
)
SELECT client_id, kind, name, surname, given_name, patronymic, city, inn, kpp, legal_address, phones, emails, manager,
       seller, region, comment, $2, $3, $4
FROM jsonb_to_recordset($1) AS r (
    client_id text, kind text, name text, surname text, given_name text, patronymic text, city text, inn text, kpp text,
    legal_address text, phones text[], emails text[], manager text, seller text, region text, comment text
)
ON CONFLICT (client_id) DO UPDATE SET
    kind = excluded.kind, name = excluded.name, surname = excluded.surname, given_name = excluded.given_name,
    patronymic = excluded.patronymic, city = excluded.city, inn = excluded.inn, kpp = excluded.kpp,
    legal_address = excluded.legal_address, phones = excluded.phones, emails = excluded.emails,
    manager = excluded.manager, seller = excluded.seller, region = excluded.region, comment = excluded.comment,
    search_words = excluded.search_words
