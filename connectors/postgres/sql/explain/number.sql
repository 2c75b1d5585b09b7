SELECT number, status, account_id, place, region, provider_id, fmtn, joined_on, archived_on, saleable
FROM office.numbers WHERE number = $1 AND removed_at IS NULL
