-- Services that anything names beside prices.
SELECT service FROM office.account_services UNION SELECT service FROM office.discounts WHERE service IS NOT NULL
