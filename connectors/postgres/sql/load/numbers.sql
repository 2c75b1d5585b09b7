INSERT INTO office.numbers (
    number, status, account_id, place, region, provider_id, fmtn, joined_on, archived_on, saleable, changed_at,
    changed_by, change_reason
)
SELECT number, status, account_id, place, region, provider_id, fmtn, joined_on, archived_on, saleable, $2, $3, $4
FROM jsonb_to_recordset($1) AS r (
    number text, status text, account_id text, place text, region text, provider_id text, fmtn boolean,
    joined_on date, archived_on date, saleable text
)
ON CONFLICT (number) DO UPDATE SET
    status = excluded.status, account_id = excluded.account_id, place = excluded.place, region = excluded.region,
    provider_id = excluded.provider_id, fmtn = excluded.fmtn, joined_on = excluded.joined_on,
    archived_on = excluded.archived_on, saleable = excluded.saleable, removed_at = NULL,
    changed_at = excluded.changed_at, changed_by = excluded.changed_by, change_reason = excluded.change_reason
