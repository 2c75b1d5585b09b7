SELECT p.tariff_plan_id, p.forbid_loss, l.price_list_id, l.priority
FROM office.tariff_plans p JOIN office.tariff_plan_lists l ON l.tariff_plan_id = p.tariff_plan_id
WHERE p.removed_at IS NULL
ORDER BY p.tariff_plan_id, l.place
