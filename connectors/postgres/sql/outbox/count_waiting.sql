SELECT count(*) AS waiting, min(at) AS oldest FROM plumbing.outbox WHERE published_at IS NULL
