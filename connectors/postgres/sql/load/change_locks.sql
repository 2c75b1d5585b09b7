UPDATE office.locks l SET
    kind = r.kind, digits = r.digits, account_id = r.account_id, provider_id = r.provider_id, reason = r.reason,
    changed_at = $2, changed_by = $3, changed_as = $4, change_reason = $5
FROM jsonb_to_recordset($1) AS r (
    lock_id text, kind text, digits text, account_id text, provider_id text, reason text
)
WHERE l.lock_id = r.lock_id
