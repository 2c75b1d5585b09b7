UPDATE plumbing.outbox SET published_at = clock_timestamp(), reference_version = $2
WHERE seq = ANY ($1::bigint[]) AND published_at IS NULL
