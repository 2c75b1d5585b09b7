SELECT revision, at, actor, why, status, account_id, place, region, provider_id, fmtn, joined_on, archived_on, saleable,
    removed_at
FROM office.number_history WHERE number = $1 ORDER BY revision
