-- The history names the author and the time as the folder tells them; who loaded it is in the audit. A lock that comes
-- again under its id denied nothing since it was lifted, whatever the folder says of its time: it is set as of $2.
INSERT INTO office.locks (
    lock_id, kind, digits, account_id, provider_id, author, reason, created_at, changed_at, changed_by, change_reason
)
SELECT lock_id, kind, digits, account_id, provider_id, author, reason, created_at, created_at, author, reason
FROM jsonb_to_recordset($1) AS r (
    lock_id text, kind text, digits text, account_id text, provider_id text, author text, reason text,
    created_at timestamptz
)
ON CONFLICT (lock_id) DO UPDATE SET
    kind = excluded.kind, digits = excluded.digits, account_id = excluded.account_id,
    provider_id = excluded.provider_id, author = excluded.author, reason = excluded.reason,
    created_at = excluded.created_at, ends_at = NULL, lifted_at = NULL, lifted_by = NULL, lift_reason = NULL,
    changed_at = $2, changed_by = excluded.changed_by, changed_as = NULL,
    change_reason = excluded.change_reason
