-- Re-rating of a period: what calls of the past would have been charged by other prices, looked at by one, approved by
-- another, posted as corrections, and taken back if need be.
--
-- A rated CDR is never changed: what it is charged instead stands in the item of a run that was posted. An account is
-- posted in one transaction, with the order to the engine and the postings of the revenue and cost side; so a run that
-- was stopped in the middle goes on where it was, and no account is posted twice.

CREATE TABLE books.reratings (
    rerating_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    since timestamptz NOT NULL,
    until timestamptz NOT NULL CHECK (until > since),
    account_id text COLLATE "C",
    prefix text COLLATE "C" CHECK (prefix ~ '^[0-9]{1,15}$'),
    price_list_id text COLLATE "C",
    reference_version bigint CHECK (reference_version > 0),
    plans text NOT NULL CHECK (plans IN ('then', 'by_tables')),
    reason text NOT NULL CHECK (reason <> ''),
    created_at timestamptz NOT NULL,
    created_by text NOT NULL CHECK (created_by <> ''),
    state text NOT NULL DEFAULT 'draft' CHECK (state IN (
        'draft', 'previewed', 'approved', 'posting', 'posted', 'rolling_back', 'rolled_back', 'cancelled')),
    previewed_at timestamptz,
    previewed_by text,
    approved_at timestamptz,
    approved_by text,
    ordered_at timestamptz,
    ordered_by text,
    posted_at timestamptz,
    back_at timestamptz,
    back_by text,
    rolled_back_at timestamptz,
    cancelled_at timestamptz,
    cancelled_by text,
    fingerprint bytea CHECK (length(fingerprint) = 32),
    summary jsonb,
    wanted text CHECK (wanted IN ('preview', 'post', 'roll_back')),
    wanted_by text,
    worker uuid,
    stage text NOT NULL DEFAULT '',
    done bigint NOT NULL DEFAULT 0,
    total bigint NOT NULL DEFAULT 0,
    beat_at timestamptz,
    failure text,
    CHECK ((wanted IS NULL) = (wanted_by IS NULL)),
    CHECK ((approved_at IS NULL) = (approved_by IS NULL)),
    CHECK (state IN ('draft', 'cancelled') OR (fingerprint IS NOT NULL AND summary IS NOT NULL)),
    CHECK (state IN ('draft', 'previewed', 'cancelled') OR approved_by IS NOT NULL),
    CONSTRAINT approved_by_another CHECK (approved_by <> created_by AND approved_by <> previewed_by)
);
COMMENT ON TABLE books.reratings IS 'Runs: which calls are rated again, by which prices, and what became of it';
COMMENT ON COLUMN books.reratings.since IS 'Calls that ended then or later, and before `until`';
COMMENT ON COLUMN books.reratings.price_list_id IS 'Calls that are or would be priced by it, on either side';
COMMENT ON COLUMN books.reratings.reference_version IS 'Whose prices; null: of the tables in force when it is previewed';
COMMENT ON COLUMN books.reratings.plans IS 'Whether an account counts with its plan and place of the call''s set-up, or with those of the tables';
COMMENT ON COLUMN books.reratings.fingerprint IS 'SHA-256 over the calls of its items and what they were charged when it was previewed';
COMMENT ON COLUMN books.reratings.wanted IS 'Work that is ordered and not done; `worker` does it, heard of last at `beat_at`';
-- What is posted at one time is never compared with what another run is just posting.
CREATE UNIQUE INDEX reratings_one_at_a_time ON books.reratings ((true)) WHERE state IN ('posting', 'rolling_back');
CREATE INDEX reratings_wanted ON books.reratings (rerating_id) WHERE wanted IS NOT NULL;

CREATE TABLE books.rerating_accounts (
    rerating_id bigint NOT NULL REFERENCES books.reratings,
    account_id text COLLATE "C" NOT NULL,
    place integer NOT NULL CHECK (place > 0),
    items integer NOT NULL CHECK (items > 0),
    old_retail_micros bigint NOT NULL,
    new_retail_micros bigint NOT NULL,
    old_wholesale_micros bigint NOT NULL,
    new_wholesale_micros bigint NOT NULL,
    state text NOT NULL DEFAULT 'previewed' CHECK (state IN ('previewed', 'posted', 'rolled_back')),
    posted_seq bigint UNIQUE,
    posted_at timestamptz,
    command_id office.id REFERENCES office.commands,
    tries integer NOT NULL DEFAULT 0,
    rolled_back_at timestamptz,
    back_command_id office.id REFERENCES office.commands,
    PRIMARY KEY (rerating_id, account_id),
    UNIQUE (rerating_id, place),
    CHECK ((state = 'previewed') = (posted_at IS NULL)),
    CHECK ((posted_at IS NULL) = (posted_seq IS NULL)),
    CHECK ((state = 'rolled_back') = (rolled_back_at IS NOT NULL))
);
COMMENT ON TABLE books.rerating_accounts IS 'What a run comes to for each account; an empty account_id: calls of nobody''s';
COMMENT ON COLUMN books.rerating_accounts.command_id IS 'The correction that the engine was ordered; null where the client''s side comes to nothing';
COMMENT ON COLUMN books.rerating_accounts.tries IS 'How often it was ordered: again after the engine had rejected it';
CREATE SEQUENCE books.rerating_posted AS bigint;

CREATE TABLE books.rerating_items (
    rerating_id bigint NOT NULL REFERENCES books.reratings,
    place integer NOT NULL CHECK (place > 0),
    account_id text COLLATE "C" NOT NULL,
    ended_at timestamptz NOT NULL,
    cdr_id text COLLATE "C" NOT NULL,
    copy bigint NOT NULL,
    service text COLLATE "C" NOT NULL,
    called text COLLATE "C" NOT NULL,
    provider_id text COLLATE "C",
    billable_seconds integer NOT NULL,
    cdr_hash bytea NOT NULL CHECK (length(cdr_hash) = 32),
    corrects bigint REFERENCES books.reratings,
    old_retail_micros bigint,
    old_wholesale_micros bigint,
    new_retail_micros bigint,
    new_wholesale_micros bigint,
    old_charges bytea NOT NULL,
    new_charges bytea,
    problem text COLLATE "C",
    detail text,
    PRIMARY KEY (rerating_id, place),
    UNIQUE (rerating_id, cdr_id, ended_at, copy),
    CHECK ((problem IS NULL) = (new_charges IS NOT NULL)),
    CHECK ((problem IS NULL) = (detail IS NULL)),
    CHECK (problem IS NULL OR (new_retail_micros IS NULL AND new_wholesale_micros IS NULL))
);
COMMENT ON TABLE books.rerating_items IS
    'Calls of a run whose charges differ, old and new; and those that have no price any more (`problem`), which stay as they are';
COMMENT ON COLUMN books.rerating_items.cdr_hash IS 'SHA-256 of the rated CDR''s bytes';
COMMENT ON COLUMN books.rerating_items.old_charges IS 'Both charges in all their parts, as JSON';
COMMENT ON COLUMN books.rerating_items.corrects IS 'The run whose item the old charges are; null: they are the rated CDR''s own';
CREATE INDEX rerating_items_cdr ON books.rerating_items (cdr_id, ended_at, copy) WHERE problem IS NULL;
CREATE INDEX rerating_items_corrects ON books.rerating_items (corrects) WHERE corrects IS NOT NULL;
CREATE INDEX rerating_items_account ON books.rerating_items (rerating_id, account_id, place);

CREATE TABLE books.rerating_postings (
    posting_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    rerating_id bigint NOT NULL,
    account_id text COLLATE "C" NOT NULL,
    back boolean NOT NULL,
    debit_kind text COLLATE "C" NOT NULL CHECK (debit_kind IN ('correction', 'revenue', 'cost', 'payable')),
    debit_owner text COLLATE "C" NOT NULL,
    credit_kind text COLLATE "C" NOT NULL CHECK (credit_kind IN ('correction', 'revenue', 'cost', 'payable')),
    credit_owner text COLLATE "C" NOT NULL,
    amount_micros bigint NOT NULL CHECK (amount_micros > 0),
    at timestamptz NOT NULL,
    day date NOT NULL,
    cause_id text COLLATE "C" NOT NULL,
    FOREIGN KEY (rerating_id, account_id) REFERENCES books.rerating_accounts
);
COMMENT ON TABLE books.rerating_postings IS
    'The side of revenue and cost: what passes between it and the clients goes through the engine. Each row is booked as it is written.';
CREATE UNIQUE INDEX rerating_postings_once ON books.rerating_postings
    (rerating_id, account_id, back, debit_kind, debit_owner, credit_kind, credit_owner);

-- The one way for the office into the ledger: none of the accounts that it reaches is a client's.
CREATE FUNCTION books.book_posting() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
BEGIN
    PERFORM books.ensure_month(NEW.day);
    INSERT INTO books.accounts (kind, owner)
    SELECT w.kind, w.owner
    FROM (VALUES (NEW.debit_kind, NEW.debit_owner), (NEW.credit_kind, NEW.credit_owner)) AS w (kind, owner)
    WHERE NOT EXISTS (SELECT FROM books.accounts a WHERE a.kind = w.kind AND a.owner = w.owner)
    ORDER BY 1, 2
    ON CONFLICT DO NOTHING;
    INSERT INTO books.transfers (
        day, source_partition, source_offset, amount_micros, recorded_at, debit, credit, cause, cause_id
    )
    SELECT NEW.day, -1, NEW.posting_id, NEW.amount_micros, now(), d.ledger_id, c.ledger_id, 'correction', NEW.cause_id
    FROM books.accounts d, books.accounts c
    WHERE d.kind = NEW.debit_kind AND d.owner = NEW.debit_owner AND c.kind = NEW.credit_kind AND c.owner = NEW.credit_owner;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'posting % found no accounts in the ledger', NEW.posting_id;
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER book AFTER INSERT ON books.rerating_postings FOR EACH ROW EXECUTE FUNCTION books.book_posting();
REVOKE ALL ON FUNCTION books.book_posting FROM PUBLIC;
COMMENT ON COLUMN books.transfers.source_partition IS
    'Of the record that it comes from; -1: of the office''s own, a row of books.rerating_postings (source_offset)';

-- What a call is charged now, where that is not what was published.
CREATE FUNCTION books.correction_of(cdr text, ended timestamptz, nth bigint) RETURNS SETOF books.rerating_items
LANGUAGE sql STABLE ROWS 1 AS $$
    SELECT i.* FROM books.rerating_items i
    JOIN books.rerating_accounts a ON a.rerating_id = i.rerating_id AND a.account_id = i.account_id
    WHERE i.cdr_id = cdr AND i.ended_at = ended AND i.copy = nth AND i.problem IS NULL AND a.state = 'posted'
    ORDER BY a.posted_seq DESC LIMIT 1
$$;
COMMENT ON FUNCTION books.correction_of IS 'The latest item that was posted and not taken back, of one rated CDR';

-- The way of a run ------------------------------------------------------------------------------------------------------

CREATE FUNCTION books.guard_rerating() RETURNS trigger
LANGUAGE plpgsql SET search_path = '' AS $$
BEGIN
    IF ROW(NEW.since, NEW.until, NEW.account_id, NEW.prefix, NEW.price_list_id, NEW.reference_version, NEW.plans,
           NEW.reason, NEW.created_at, NEW.created_by)
       IS DISTINCT FROM
       ROW(OLD.since, OLD.until, OLD.account_id, OLD.prefix, OLD.price_list_id, OLD.reference_version, OLD.plans,
           OLD.reason, OLD.created_at, OLD.created_by) THEN
        RAISE EXCEPTION 're-rating % keeps its terms: make another one', OLD.rerating_id
            USING ERRCODE = 'insufficient_privilege';
    END IF;
    IF NEW.state <> OLD.state AND NOT (OLD.state || '>' || NEW.state = ANY (ARRAY[
        'draft>previewed', 'previewed>draft', 'approved>draft', 'previewed>approved', 'approved>posting',
        'posting>posted', 'posted>rolling_back', 'rolling_back>rolled_back', 'draft>cancelled', 'previewed>cancelled',
        'approved>cancelled'])) THEN
        RAISE EXCEPTION 're-rating % is %: it can''t become %', OLD.rerating_id, OLD.state, NEW.state
            USING ERRCODE = 'insufficient_privilege';
    END IF;
    IF OLD.state NOT IN ('draft', 'previewed') AND NEW.state <> 'draft' AND (
        ROW(NEW.fingerprint, NEW.previewed_by) IS DISTINCT FROM ROW(OLD.fingerprint, OLD.previewed_by)
        OR ROW(NEW.approved_by, NEW.approved_at) IS DISTINCT FROM ROW(OLD.approved_by, OLD.approved_at)
    ) THEN
        RAISE EXCEPTION 're-rating % is approved as it is', OLD.rerating_id USING ERRCODE = 'insufficient_privilege';
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER guard BEFORE UPDATE ON books.reratings FOR EACH ROW EXECUTE FUNCTION books.guard_rerating();
CREATE TRIGGER stays BEFORE DELETE OR TRUNCATE ON books.reratings
    FOR EACH STATEMENT EXECUTE FUNCTION plumbing.refuse_change();

-- Items and sums are written, and thrown away, as long as nobody has approved them.
CREATE FUNCTION books.guard_preview() RETURNS trigger
LANGUAGE plpgsql SET search_path = '' AS $$
DECLARE
    settled constant bigint := (
        SELECT min(r.rerating_id) FROM books.reratings r
        WHERE r.state <> 'draft' AND r.rerating_id IN (SELECT DISTINCT t.rerating_id FROM touched t)
    );
BEGIN
    IF settled IS NOT NULL THEN
        RAISE EXCEPTION 're-rating % is previewed: its items stay as they are', settled
            USING ERRCODE = 'insufficient_privilege';
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER guard_new AFTER INSERT ON books.rerating_items REFERENCING NEW TABLE AS touched
    FOR EACH STATEMENT EXECUTE FUNCTION books.guard_preview();
CREATE TRIGGER guard_gone AFTER DELETE ON books.rerating_items REFERENCING OLD TABLE AS touched
    FOR EACH STATEMENT EXECUTE FUNCTION books.guard_preview();
CREATE TRIGGER guard_new AFTER INSERT ON books.rerating_accounts REFERENCING NEW TABLE AS touched
    FOR EACH STATEMENT EXECUTE FUNCTION books.guard_preview();
CREATE TRIGGER guard_gone AFTER DELETE ON books.rerating_accounts REFERENCING OLD TABLE AS touched
    FOR EACH STATEMENT EXECUTE FUNCTION books.guard_preview();
CREATE TRIGGER stays BEFORE UPDATE OR TRUNCATE ON books.rerating_items
    FOR EACH STATEMENT EXECUTE FUNCTION plumbing.refuse_change();
CREATE TRIGGER stays BEFORE UPDATE OR DELETE OR TRUNCATE ON books.rerating_postings
    FOR EACH STATEMENT EXECUTE FUNCTION plumbing.refuse_change();

CREATE FUNCTION books.guard_rerating_account() RETURNS trigger
LANGUAGE plpgsql SET search_path = '' AS $$
DECLARE
    run constant text := (SELECT r.state FROM books.reratings r WHERE r.rerating_id = NEW.rerating_id);
BEGIN
    IF OLD.state || '>' || NEW.state || ' ' || run <> ALL (ARRAY[
        'previewed>posted posting', 'posted>rolled_back rolling_back',
        -- Ordered again, since the engine had rejected it.
        'posted>posted posting', 'posted>posted posted']) THEN
        RAISE EXCEPTION 'account % of re-rating % is %, and the run is %: it can''t become %', OLD.account_id,
            OLD.rerating_id, OLD.state, run, NEW.state USING ERRCODE = 'insufficient_privilege';
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER guard BEFORE UPDATE ON books.rerating_accounts
    FOR EACH ROW EXECUTE FUNCTION books.guard_rerating_account();

-- Corrections among the orders to the engine ----------------------------------------------------------------------------

ALTER TABLE office.commands
    DROP CONSTRAINT commands_kind_check,
    DROP CONSTRAINT money_has_its_amount,
    ADD CONSTRAINT commands_kind_check
        CHECK (kind IN ('payment', 'top_up', 'write_off', 'correction', 'block', 'unblock', 'close')),
    ADD CONSTRAINT money_has_its_amount CHECK (
        (kind IN ('payment', 'top_up', 'write_off', 'correction')) = (amount_micros IS NOT NULL) AND amount_micros <> 0
    );

GRANT SELECT ON books.reratings, books.rerating_accounts, books.rerating_items, books.rerating_postings
    TO tollgate_app, tollgate_projector, tollgate_relay, tollgate_readonly;
GRANT INSERT ON books.reratings, books.rerating_postings TO tollgate_app;
GRANT INSERT, DELETE ON books.rerating_accounts, books.rerating_items TO tollgate_app;
GRANT UPDATE (
    state, previewed_at, previewed_by, approved_at, approved_by, ordered_at, ordered_by, posted_at, back_at, back_by,
    rolled_back_at, cancelled_at, cancelled_by, fingerprint, summary, wanted, wanted_by, worker, stage, done, total,
    beat_at, failure
) ON books.reratings TO tollgate_app;
GRANT UPDATE (state, posted_seq, posted_at, command_id, tries, rolled_back_at, back_command_id)
    ON books.rerating_accounts TO tollgate_app;
GRANT USAGE ON SEQUENCE books.rerating_posted TO tollgate_app;
