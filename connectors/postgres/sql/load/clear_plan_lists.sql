DELETE FROM office.tariff_plan_lists WHERE tariff_plan_id = ANY ($1)
