-- Whether any call, account, discount or price has a service; prices last, they may be very many.
SELECT EXISTS (SELECT FROM facts.rated_cdrs WHERE service = $1)
    OR EXISTS (SELECT FROM office.account_services WHERE service = $1)
    OR EXISTS (SELECT FROM office.discounts WHERE service = $1)
    OR EXISTS (SELECT FROM office.prices WHERE service = $1)
