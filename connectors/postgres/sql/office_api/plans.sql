SELECT p.tariff_plan_id, p.name, p.forbid_loss,
       (SELECT coalesce(jsonb_agg(jsonb_build_array(l.price_list_id, l.priority) ORDER BY l.place), '[]')
        FROM office.tariff_plan_lists l WHERE l.tariff_plan_id = p.tariff_plan_id) AS lists
FROM office.tariff_plans p WHERE p.removed_at IS NULL AND p.tariff_plan_id > $1
ORDER BY p.tariff_plan_id LIMIT $2
