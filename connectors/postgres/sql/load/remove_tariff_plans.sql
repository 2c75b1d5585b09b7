UPDATE office.tariff_plans SET removed_at = $2 WHERE tariff_plan_id = ANY ($1)
