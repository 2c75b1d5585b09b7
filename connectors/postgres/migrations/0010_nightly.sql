-- Jobs of the night: what was done in which night, how far it has come, what came of it; and who asked for more.

CREATE TABLE office.nightly_runs (
    day date NOT NULL,
    job text COLLATE "C" NOT NULL CHECK (job ~ '^[a-z][a-z0-9_]{0,31}$'),
    state text NOT NULL CHECK (state IN ('running', 'done', 'failed', 'blocked')),
    attempt integer NOT NULL CHECK (attempt > 0),
    steps integer NOT NULL DEFAULT 0 CHECK (steps >= 0),
    place jsonb,
    report jsonb NOT NULL,
    error text,
    started_at timestamptz NOT NULL,
    stepped_at timestamptz NOT NULL,
    ended_at timestamptz,
    started_by text NOT NULL,
    host text NOT NULL,
    process integer NOT NULL,
    PRIMARY KEY (day, job),
    CHECK ((state = 'running') = (ended_at IS NULL)),
    CHECK ((state IN ('failed', 'blocked')) = (error IS NOT NULL))
);
COMMENT ON TABLE office.nightly_runs IS 'Jobs of the night: each has one row for a night, however often it is tried';
COMMENT ON COLUMN office.nightly_runs.day IS 'The business day that begins with the night';
COMMENT ON COLUMN office.nightly_runs.attempt IS 'How often it was begun. Who comes back from the dead finds another number, and does nothing';
COMMENT ON COLUMN office.nightly_runs.place IS 'Where the next step begins; null: at the beginning, or nowhere when it is done';
COMMENT ON COLUMN office.nightly_runs.report IS 'counts, notes, notes_left_out';
COMMENT ON COLUMN office.nightly_runs.started_at IS 'Of this attempt; by the machine''s clock, as the other moments are';
COMMENT ON COLUMN office.nightly_runs.stepped_at IS 'When the last step was committed';
CREATE INDEX nightly_runs_job ON office.nightly_runs (job, day);

CREATE FUNCTION office.guard_nightly_run() RETURNS trigger
LANGUAGE plpgsql SET search_path = '' AS $$
BEGIN
    IF OLD.state = 'done' OR NEW.day <> OLD.day OR NEW.job <> OLD.job OR NEW.attempt < OLD.attempt THEN
        RAISE EXCEPTION 'job % of %: what is done stays done', OLD.job, OLD.day USING ERRCODE = 'insufficient_privilege';
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER guard_nightly_run BEFORE UPDATE ON office.nightly_runs
    FOR EACH ROW EXECUTE FUNCTION office.guard_nightly_run();
CREATE TRIGGER nightly_runs_stay BEFORE DELETE OR TRUNCATE ON office.nightly_runs
    FOR EACH STATEMENT EXECUTE FUNCTION plumbing.refuse_change();

CREATE TABLE office.nightly_orders (
    order_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    day date NOT NULL,
    jobs text[] COLLATE "C" NOT NULL,
    state text NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'done', 'failed')),
    ordered_at timestamptz NOT NULL,
    ordered_by text NOT NULL,
    reason office.words NOT NULL,
    ended_at timestamptz,
    outcome text,
    CHECK ((state = 'waiting') = (ended_at IS NULL))
);
COMMENT ON TABLE office.nightly_orders IS 'Nights that somebody has asked for by the API; a process that runs jobs works them off';
COMMENT ON COLUMN office.nightly_orders.jobs IS 'Empty: all';
COMMENT ON COLUMN office.nightly_orders.outcome IS 'In a line; what each job did stands in its run';
CREATE INDEX nightly_orders_waiting ON office.nightly_orders (order_id) WHERE state = 'waiting';
CREATE TRIGGER nightly_orders_stay BEFORE DELETE OR TRUNCATE ON office.nightly_orders
    FOR EACH STATEMENT EXECUTE FUNCTION plumbing.refuse_change();

GRANT SELECT ON office.nightly_runs, office.nightly_orders
    TO tollgate_app, tollgate_projector, tollgate_relay, tollgate_readonly;
GRANT INSERT, UPDATE ON office.nightly_runs TO tollgate_app;
GRANT INSERT, UPDATE (state, ended_at, outcome) ON office.nightly_orders TO tollgate_app;

-- Working days ----------------------------------------------------------------------------------------------------------

-- Which days the loaded production calendar speaks of: one of them that it does not name is what its weekday says. Of
-- other days the country's public holidays are known to the program.
CREATE TABLE office.calendar_loaded (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    days datemultirange NOT NULL
);
COMMENT ON TABLE office.calendar_loaded IS 'The periods that a production calendar was loaded for';
-- What was loaded before was for whole years.
INSERT INTO office.calendar_loaded (days)
SELECT coalesce(range_agg(daterange(make_date(year, 1, 1), make_date(year + 1, 1, 1))), '{}')
FROM (SELECT DISTINCT extract(year FROM day)::integer AS year FROM office.calendar) AS years;
CREATE TRIGGER calendar_loaded_stays BEFORE INSERT OR DELETE OR TRUNCATE ON office.calendar_loaded
    FOR EACH STATEMENT EXECUTE FUNCTION plumbing.refuse_change();
GRANT SELECT ON office.calendar_loaded TO tollgate_app, tollgate_projector, tollgate_relay, tollgate_readonly;
GRANT UPDATE ON office.calendar_loaded TO tollgate_app;

-- Months of the facts -----------------------------------------------------------------------------------------------------

-- What the office may forget. Rated CDRs, movements and transfers are not among it: the books are proved by them.
CREATE FUNCTION facts.old_months(before date) RETURNS TABLE (partition text, first_day date, estimated_rows bigint)
LANGUAGE sql STABLE SET search_path = '' AS $$
    SELECT c.relname::text, to_date(right(c.relname, 7), 'YYYY_MM'), greatest(c.reltuples, 0)::bigint
    FROM pg_catalog.pg_inherits i
    JOIN pg_catalog.pg_class c ON c.oid = i.inhrelid
    JOIN pg_catalog.pg_class p ON p.oid = i.inhparent
    JOIN pg_catalog.pg_namespace n ON n.oid = p.relnamespace
    WHERE n.nspname = 'facts' AND p.relname IN ('attempts', 'decisions')
      AND c.relname ~ '_[0-9]{4}_[0-9]{2}$' AND to_date(right(c.relname, 7), 'YYYY_MM') < before
    ORDER BY 2, 1
$$;
COMMENT ON FUNCTION facts.old_months IS 'Partitions of attempts and decisions of months before the one that begins at a day';

CREATE FUNCTION facts.forget_month(partition text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
DECLARE
    first_day date;
BEGIN
    -- By the server's own clock, whatever the business clock says: a year stays, whoever asks.
    SELECT m.first_day INTO first_day
    FROM facts.old_months((pg_catalog.date_trunc('month', pg_catalog.now()) - interval '12 months')::date) m
    WHERE m.partition = forget_month.partition;
    IF first_day IS NULL THEN
        RAISE EXCEPTION '% is no month of attempts or decisions that is more than a year old', partition
            USING ERRCODE = 'insufficient_privilege';
    END IF;
    -- Whoever reads the table is let finish, and is not kept waiting behind this for long.
    PERFORM pg_catalog.set_config('lock_timeout', '2s', true);
    EXECUTE format('DROP TABLE facts.%I', partition);
END
$$;
COMMENT ON FUNCTION facts.forget_month IS 'Drops a partition of attempts or decisions; refuses those of the last twelve months and all others';
REVOKE ALL ON FUNCTION facts.forget_month FROM PUBLIC;
GRANT EXECUTE ON FUNCTION facts.old_months, facts.forget_month TO tollgate_app;
