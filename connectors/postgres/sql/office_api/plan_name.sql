UPDATE office.tariff_plans SET name = $2 WHERE tariff_plan_id = $1
