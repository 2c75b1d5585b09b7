INSERT INTO office.tariff_plans (tariff_plan_id, name, forbid_loss)
SELECT tariff_plan_id, tariff_plan_id, forbid_loss
FROM jsonb_to_recordset($1) AS r (tariff_plan_id text, forbid_loss boolean)
ON CONFLICT (tariff_plan_id) DO UPDATE SET forbid_loss = excluded.forbid_loss, removed_at = NULL
