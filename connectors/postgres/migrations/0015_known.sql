-- A day of the statistics of unwanted calls may be closed when nothing of it can come any more. That something later was
-- projected does not say so: an engine that is behind tells of yesterday with today's time, and of a quiet night nothing
-- is told at all.
CREATE TABLE facts.known (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    until timestamptz NOT NULL,
    seen_at timestamptz NOT NULL
);
COMMENT ON TABLE facts.known IS 'Up to when all calls were worked off by the engine and their counters projected';
COMMENT ON COLUMN facts.known.until IS 'A moment of the business clock';

GRANT SELECT ON facts.known TO tollgate_app, tollgate_readonly;
GRANT SELECT, INSERT, UPDATE ON facts.known TO tollgate_projector;
GRANT SELECT ON office.business_clock TO tollgate_projector;
