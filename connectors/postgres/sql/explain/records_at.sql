-- Everything that was published, each thing as it stood under reference version $1; a payload of null: it was gone.
SELECT DISTINCT ON (kind, key) kind, key, payload
FROM plumbing.outbox
WHERE reference_version <= $1 AND kind NOT IN ('command', 'event')
ORDER BY kind, key, reference_version DESC, seq DESC
