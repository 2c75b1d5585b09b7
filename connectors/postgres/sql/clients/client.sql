SELECT client_id, kind, name, surname, given_name, patronymic, city, inn, kpp, legal_address, phones, emails, manager,
       seller, region, comment, created_at,
       ARRAY(SELECT t.name::text FROM office.client_tags JOIN office.tags t USING (tag) WHERE client_id = c.client_id
             ORDER BY 1) AS tags
FROM office.clients c WHERE client_id = $1
