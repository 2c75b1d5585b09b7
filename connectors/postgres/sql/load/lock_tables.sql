-- Nobody else changes reference data while a folder is compared with them and loaded; reading goes on.
LOCK TABLE office.clients, office.accounts, office.providers, office.bands, office.price_lists,
    office.price_list_versions, office.tariff_plans, office.tariff_plan_lists, office.locks, office.numbers,
    office.discounts IN SHARE ROW EXCLUSIVE MODE
