SELECT count(*) FROM pg_catalog.pg_inherits
WHERE inhparent IN (
    'facts.attempts'::regclass, 'facts.decisions'::regclass, 'facts.rated_cdrs'::regclass, 'books.transfers'::regclass
)
