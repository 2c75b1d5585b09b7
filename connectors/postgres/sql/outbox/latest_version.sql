SELECT coalesce(max(reference_version), 0) FROM plumbing.outbox WHERE reference_version IS NOT NULL
