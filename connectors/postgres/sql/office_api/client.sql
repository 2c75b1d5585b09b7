SELECT client_id, kind, name, surname, given_name, patronymic, city, inn, kpp, legal_address, phones, emails, manager, seller,
       region, comment
FROM office.clients WHERE client_id = $1
FOR NO KEY UPDATE
