SELECT rerating_id, since, until, account_id, prefix, price_list_id, reference_version, plans, reason, created_at, created_by, state,
       previewed_at, previewed_by, approved_at, approved_by, ordered_at, ordered_by, posted_at, back_at, back_by,
       rolled_back_at, cancelled_at, cancelled_by, encode(fingerprint, 'hex') AS fingerprint, summary, wanted, stage, done,
       total, failure
FROM books.reratings WHERE rerating_id = $1
