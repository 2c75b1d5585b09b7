INSERT INTO office.discounts (account_id, service, percent_micros, valid_from, valid_to)
SELECT d.entry ->> 'account_id', d.entry ->> 'service', (d.entry ->> 'percent_micros')::integer,
       (d.entry ->> 'valid_from')::timestamptz, (d.entry ->> 'valid_to')::timestamptz
FROM jsonb_array_elements($1) WITH ORDINALITY AS a (entry, place),
     jsonb_array_elements(a.entry -> 'discounts') WITH ORDINALITY AS d (entry, place)
ORDER BY a.place, d.place
