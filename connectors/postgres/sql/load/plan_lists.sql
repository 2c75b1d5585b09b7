INSERT INTO office.tariff_plan_lists (tariff_plan_id, price_list_id, priority, place)
SELECT p.tariff_plan_id, l.entry ->> 'price_list_id', (l.entry ->> 'priority')::integer, l.place
FROM jsonb_to_recordset($1) AS p (tariff_plan_id text, lists jsonb),
     jsonb_array_elements(p.lists) WITH ORDINALITY AS l (entry, place)
