-- The first and the latest version of the reference data that the record knows what it became of, and whether changes
-- wait of which nobody has noted yet that they were published. Versions between may be missing: not every one was made
-- by a change of the record, and what was published anew to an empty topic has a number and no row.
SELECT min(reference_version) AS first, max(reference_version) AS latest,
       EXISTS (SELECT FROM plumbing.outbox WHERE published_at IS NULL AND kind NOT IN ('command', 'event', 'price_list'))
           AS waiting
FROM plumbing.outbox WHERE reference_version IS NOT NULL
