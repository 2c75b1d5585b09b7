-- What the switches asked and the engine said, as the projector writes it down. Nothing here is made up by the office.
--
-- The large tables are cut by months (UTC) of the moment that an event names itself. So a record that comes twice lies in
-- the same month both times, however far apart they come, and the unique index of that month finds it. There is no
-- default partition: `facts.ensure_month` makes a month before its first row comes.
--
-- `copy` is 0 for the first record of an id and something else for a further one: the offset of its source + 1. A further
-- decision is a repeated answer; a further rated CDR has been charged once more, and the books must say so.

CREATE TABLE facts.offsets (
    topic text COLLATE "C" NOT NULL,
    partition integer NOT NULL,
    next_offset bigint NOT NULL CHECK (next_offset >= 0),
    record_at timestamptz,
    projected_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (topic, partition)
) WITH (fillfactor = 50);
COMMENT ON TABLE facts.offsets IS
    'Up to which record each partition of each topic is in the tables. Moved in the same transaction as the rows.';
COMMENT ON COLUMN facts.offsets.record_at IS 'The broker''s time of the last record taken in.';

CREATE TABLE facts.gaps (
    topic text COLLATE "C" NOT NULL,
    partition integer NOT NULL,
    from_offset bigint NOT NULL,
    to_offset bigint NOT NULL,
    found_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (topic, partition, from_offset)
);
COMMENT ON TABLE facts.gaps IS 'Offsets that the broker had deleted before they were taken in; to_offset is exclusive.';

CREATE TABLE facts.unprojected (
    topic text COLLATE "C" NOT NULL,
    partition integer NOT NULL,
    source_offset bigint NOT NULL,
    key bytea,
    value bytea,
    recorded_at timestamptz NOT NULL,
    why text NOT NULL,
    found_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (topic, partition, source_offset)
);
COMMENT ON TABLE facts.unprojected IS
    'Records that could not be made rows of: their bytes, and why. They leave when they are projected after all.';

-- What switches asked ---------------------------------------------------------------------------------------------------

CREATE TABLE facts.attempts (
    at timestamptz NOT NULL,
    recorded_at timestamptz NOT NULL,
    source_offset bigint NOT NULL,
    source_partition integer NOT NULL,
    requested_seconds integer,
    used_seconds integer,
    kind text COLLATE "C" NOT NULL,
    attempt_id text COLLATE "C" NOT NULL,
    switch_id text COLLATE "C" NOT NULL,
    account_id text COLLATE "C",
    service text COLLATE "C",
    caller text COLLATE "C",
    called text COLLATE "C",
    place text COLLATE "C",
    incoming_service text COLLATE "C",
    cause text COLLATE "C",
    record bytea NOT NULL
) PARTITION BY RANGE (at);
COMMENT ON TABLE facts.attempts IS
    'call-attempts as they came: attempts, extensions, releases; what could not be read is in facts.rejected alone. An '
    'attempt sent twice is here twice, and so is one that came to a wrong partition first.';
CREATE INDEX attempts_id ON facts.attempts (attempt_id);
CREATE INDEX attempts_account ON facts.attempts (account_id, at) WHERE kind = 'call_attempt';
CREATE INDEX attempts_called ON facts.attempts (called, at) WHERE kind = 'call_attempt';

-- What the engine said --------------------------------------------------------------------------------------------------

CREATE TABLE facts.decisions (
    at timestamptz NOT NULL,
    recorded_at timestamptz NOT NULL,
    source_offset bigint NOT NULL,
    copy bigint NOT NULL DEFAULT 0,
    hold_micros bigint NOT NULL,
    reference_version bigint NOT NULL,
    source_partition integer NOT NULL,
    extension integer NOT NULL,
    max_seconds integer NOT NULL,
    allow boolean NOT NULL,
    repeated boolean NOT NULL,
    emergency boolean NOT NULL,
    negative_margin boolean NOT NULL,
    attempt_id text COLLATE "C" NOT NULL,
    switch_id text COLLATE "C" NOT NULL,
    account_id text COLLATE "C",
    reason text COLLATE "C",
    lock_id text COLLATE "C",
    record bytea NOT NULL
) PARTITION BY RANGE (at);
COMMENT ON TABLE facts.decisions IS
    'Answers to attempts (extension 0) and to extensions; `record` is the very text that the switch was told.';
CREATE UNIQUE INDEX decisions_once ON facts.decisions (attempt_id, extension, copy, at);
CREATE INDEX decisions_denied ON facts.decisions (reason, at) WHERE reason IS NOT NULL;
CREATE INDEX decisions_lock ON facts.decisions (lock_id, at) WHERE lock_id IS NOT NULL;

CREATE TABLE facts.rated_cdrs (
    ended_at timestamptz NOT NULL,
    started_at timestamptz NOT NULL,
    answered_at timestamptz,
    recorded_at timestamptz NOT NULL,
    source_offset bigint NOT NULL,
    copy bigint NOT NULL DEFAULT 0,
    retail_micros bigint,
    wholesale_micros bigint,
    margin_micros bigint,
    balance_after_micros bigint,
    reference_version bigint NOT NULL,
    source_partition integer NOT NULL,
    billable_seconds integer NOT NULL,
    late boolean NOT NULL,
    no_attempt boolean NOT NULL,
    denied boolean NOT NULL,
    emergency boolean NOT NULL,
    negative_margin boolean NOT NULL,
    cdr_id text COLLATE "C" NOT NULL,
    attempt_id text COLLATE "C",
    switch_id text COLLATE "C" NOT NULL,
    account_id text COLLATE "C",
    service text COLLATE "C" NOT NULL,
    caller text COLLATE "C",
    called text COLLATE "C" NOT NULL,
    place text COLLATE "C",
    incoming_service text COLLATE "C",
    provider_id text COLLATE "C",
    cause text COLLATE "C",
    retail_list_id text COLLATE "C",
    retail_prefix text COLLATE "C",
    wholesale_list_id text COLLATE "C",
    wholesale_prefix text COLLATE "C",
    record bytea NOT NULL
) PARTITION BY RANGE (ended_at);
COMMENT ON TABLE facts.rated_cdrs IS 'Finished calls with what they cost; `record` has the charges in all their parts.';
CREATE UNIQUE INDEX rated_cdrs_once ON facts.rated_cdrs (cdr_id, copy, ended_at);
CREATE INDEX rated_cdrs_attempt ON facts.rated_cdrs (attempt_id) WHERE attempt_id IS NOT NULL;
-- A search (§2.5) names the service, and an account or a number or neither; pages go by the moment of the call's end.
CREATE INDEX rated_cdrs_account ON facts.rated_cdrs (account_id, service, ended_at);
CREATE INDEX rated_cdrs_called ON facts.rated_cdrs (called, service, ended_at);
CREATE INDEX rated_cdrs_service ON facts.rated_cdrs (service, ended_at);

CREATE TABLE facts.movements (
    source_partition integer NOT NULL,
    source_offset bigint NOT NULL,
    copy bigint NOT NULL DEFAULT 0,
    at timestamptz NOT NULL,
    recorded_at timestamptz NOT NULL,
    amount_micros bigint NOT NULL,
    balance_after_micros bigint NOT NULL,
    kind text COLLATE "C" NOT NULL,
    account_id text COLLATE "C" NOT NULL,
    cause_id text COLLATE "C" NOT NULL,
    currency text COLLATE "C" NOT NULL,
    status text COLLATE "C" NOT NULL,
    reference text,
    reason text,
    record bytea NOT NULL,
    PRIMARY KEY (source_partition, source_offset)
);
COMMENT ON TABLE facts.movements IS
    'What moved an account''s money or status, apart from calls; cause_id is the command''s, of an opening the account''s.';
CREATE UNIQUE INDEX movements_once ON facts.movements (cause_id, account_id, kind, copy);
CREATE INDEX movements_account ON facts.movements (account_id, at);

CREATE TABLE facts.balances (
    account_id text COLLATE "C" PRIMARY KEY,
    at timestamptz NOT NULL,
    recorded_at timestamptz NOT NULL,
    source_partition integer NOT NULL,
    source_offset bigint NOT NULL,
    balance_micros bigint NOT NULL,
    held_micros bigint NOT NULL,
    credit_limit_micros bigint NOT NULL,
    available_micros bigint NOT NULL,
    running_calls integer NOT NULL,
    currency text COLLATE "C" NOT NULL,
    status text COLLATE "C" NOT NULL
) WITH (fillfactor = 60);
COMMENT ON TABLE facts.balances IS 'The latest that the engine said of each account''s money.';

CREATE TABLE facts.ncv (
    number text COLLATE "C" NOT NULL,
    day date NOT NULL,
    calls integer NOT NULL,
    unique_callers integer NOT NULL,
    first_at timestamptz NOT NULL,
    last_at timestamptz NOT NULL,
    source_partition integer NOT NULL,
    source_offset bigint NOT NULL,
    PRIMARY KEY (number, day)
) WITH (fillfactor = 80);
COMMENT ON TABLE facts.ncv IS 'Unwanted calls by number and civil day of the operator (§1.4).';
CREATE INDEX ncv_day ON facts.ncv (day);

CREATE TABLE facts.rejected (
    source_partition integer NOT NULL,
    source_offset bigint NOT NULL,
    recorded_at timestamptz NOT NULL,
    at timestamptz,
    topic text COLLATE "C" NOT NULL,
    partition integer NOT NULL,
    topic_offset bigint NOT NULL,
    reason text COLLATE "C" NOT NULL,
    detail text NOT NULL,
    event_id text COLLATE "C",
    account_id text COLLATE "C",
    payload bytea NOT NULL,
    resubmitted_at timestamptz,
    resubmitted_by text,
    PRIMARY KEY (source_partition, source_offset)
);
COMMENT ON TABLE facts.rejected IS
    'Events that could not be used: where they stand (topic, partition, topic_offset), why, and their bytes. event_id and '
    'account_id are what could be read of them.';
CREATE INDEX rejected_recorded ON facts.rejected (recorded_at, source_partition, source_offset);
CREATE INDEX rejected_reason ON facts.rejected (reason, recorded_at);
CREATE INDEX rejected_event ON facts.rejected (event_id) WHERE event_id IS NOT NULL;

CREATE TABLE facts.notices (
    source_partition integer NOT NULL,
    source_offset bigint NOT NULL,
    at timestamptz NOT NULL,
    recorded_at timestamptz NOT NULL,
    kind text COLLATE "C" NOT NULL,
    account_id text COLLATE "C" NOT NULL,
    balance_micros bigint NOT NULL,
    limit_micros bigint NOT NULL,
    PRIMARY KEY (source_partition, source_offset)
);
COMMENT ON TABLE facts.notices IS 'What somebody should be told of an account (§2.4).';
CREATE INDEX notices_account ON facts.notices (account_id, at);

-- Months ----------------------------------------------------------------------------------------------------------------

CREATE FUNCTION facts.ensure_month(month date) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
DECLARE
    first_day constant date := pg_catalog.date_trunc('month', month);
    next_first constant date := first_day + interval '1 month';
    parent text;
    made text;
BEGIN
    IF first_day < '2000-01-01' OR first_day >= '2100-01-01' THEN
        RAISE EXCEPTION 'the month % lies outside of 2000-2099', first_day USING ERRCODE = 'datetime_field_overflow';
    END IF;
    PERFORM pg_catalog.pg_advisory_xact_lock(pg_catalog.hashtextextended('facts.ensure_month', 0));
    FOREACH parent IN ARRAY ARRAY['attempts', 'decisions', 'rated_cdrs'] LOOP
        made := parent || to_char(first_day, '_YYYY_MM');
        CONTINUE WHEN to_regclass('facts.' || made) IS NOT NULL;
        -- Made aside and attached: PARTITION OF would keep readers and writers of the whole table waiting.
        EXECUTE format('CREATE TABLE facts.%I (LIKE facts.%I INCLUDING ALL EXCLUDING INDEXES)', made, parent);
        EXECUTE format(
            'ALTER TABLE facts.%I ATTACH PARTITION facts.%I FOR VALUES FROM (%L) TO (%L)',
            parent, made, first_day || ' 00:00:00+00', next_first || ' 00:00:00+00'
        );
        EXECUTE format(
            'CREATE TRIGGER only_grows BEFORE TRUNCATE ON facts.%I '
            'FOR EACH STATEMENT EXECUTE FUNCTION plumbing.refuse_change()',
            made
        );
    END LOOP;
END
$$;
COMMENT ON FUNCTION facts.ensure_month IS 'Makes the partitions of a month where they are missing';
REVOKE ALL ON FUNCTION facts.ensure_month FROM PUBLIC;
GRANT EXECUTE ON FUNCTION facts.ensure_month TO tollgate_app, tollgate_projector;

-- Rights ----------------------------------------------------------------------------------------------------------------

-- Rows of these are never changed, whoever asks; they go with their month.
CREATE TRIGGER stays BEFORE UPDATE OR DELETE ON facts.attempts
    FOR EACH ROW EXECUTE FUNCTION plumbing.refuse_change();
CREATE TRIGGER stays BEFORE UPDATE OR DELETE ON facts.decisions
    FOR EACH ROW EXECUTE FUNCTION plumbing.refuse_change();
CREATE TRIGGER stays BEFORE UPDATE OR DELETE ON facts.rated_cdrs
    FOR EACH ROW EXECUTE FUNCTION plumbing.refuse_change();
CREATE TRIGGER stays BEFORE UPDATE OR DELETE ON facts.movements
    FOR EACH ROW EXECUTE FUNCTION plumbing.refuse_change();
CREATE TRIGGER only_grows BEFORE TRUNCATE ON facts.attempts
    FOR EACH STATEMENT EXECUTE FUNCTION plumbing.refuse_change();
CREATE TRIGGER only_grows BEFORE TRUNCATE ON facts.decisions
    FOR EACH STATEMENT EXECUTE FUNCTION plumbing.refuse_change();
CREATE TRIGGER only_grows BEFORE TRUNCATE ON facts.rated_cdrs
    FOR EACH STATEMENT EXECUTE FUNCTION plumbing.refuse_change();
CREATE TRIGGER only_grows BEFORE TRUNCATE ON facts.movements
    FOR EACH STATEMENT EXECUTE FUNCTION plumbing.refuse_change();

GRANT SELECT ON ALL TABLES IN SCHEMA facts TO tollgate_app, tollgate_projector, tollgate_relay, tollgate_readonly;
GRANT INSERT ON ALL TABLES IN SCHEMA facts TO tollgate_projector;
GRANT UPDATE ON facts.offsets, facts.balances, facts.ncv TO tollgate_projector;
GRANT DELETE ON facts.unprojected TO tollgate_projector;
GRANT UPDATE (resubmitted_at, resubmitted_by) ON facts.rejected TO tollgate_app;
