-- The whole schema, as the migrations make it. Made by `python -m connectors.postgres.schema`; not edited by hand.

BEGIN;
SET LOCAL check_function_bodies = off;  -- functions stand before the tables that they read

DO $$
DECLARE
    wanted text;
BEGIN
    FOREACH wanted IN ARRAY ARRAY['tollgate_app', 'tollgate_projector', 'tollgate_relay', 'tollgate_readonly'] LOOP
        IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = wanted) THEN
            BEGIN
                EXECUTE format('CREATE ROLE %I NOLOGIN', wanted);
            EXCEPTION WHEN duplicate_object OR unique_violation THEN
                NULL;  -- made meanwhile
            END;
        END IF;
    END LOOP;
END
$$;

CREATE SCHEMA access;

COMMENT ON SCHEMA access IS 'Users, sessions, API keys';

CREATE SCHEMA books;

COMMENT ON SCHEMA books IS 'The ledger: accounts and postings in double entry';

CREATE SCHEMA facts;

COMMENT ON SCHEMA facts IS 'What the engine said, as it was projected';

CREATE SCHEMA office;

COMMENT ON SCHEMA office IS 'Clients, accounts, prices, locks, numbers, orders to the engine';

CREATE SCHEMA plumbing;

COMMENT ON SCHEMA plumbing IS 'Migrations, audit, outbox, idempotency keys';

CREATE DOMAIN access.user_name AS text COLLATE pg_catalog."C"
	CONSTRAINT user_name_check CHECK ((VALUE ~ '^[a-z][a-z0-9._-]{1,31}$'::text));

COMMENT ON DOMAIN access.user_name IS 'What a user signs in with; the audit and the locks refer to it, so it never changes';

CREATE DOMAIN office.currency AS text COLLATE pg_catalog."C"
	CONSTRAINT currency_check CHECK ((VALUE ~ '^[A-Z]{3}$'::text));

COMMENT ON DOMAIN office.currency IS 'ISO 4217';

CREATE DOMAIN office.digits AS text COLLATE pg_catalog."C"
	CONSTRAINT digits_check CHECK ((VALUE ~ '^[0-9]{1,15}$'::text));

COMMENT ON DOMAIN office.digits IS 'A number or mask of E.164, without +';

CREATE DOMAIN office.id AS text COLLATE pg_catalog."C"
	CONSTRAINT id_check CHECK (((length(VALUE) >= 1) AND (length(VALUE) <= 64)));

COMMENT ON DOMAIN office.id IS 'An id of the outside: 1 to 64 characters, in the order of their code points';

CREATE DOMAIN office.words AS text
	CONSTRAINT words_check CHECK (((length(VALUE) >= 1) AND (length(VALUE) <= 1000)));

COMMENT ON DOMAIN office.words IS 'Words for people';

CREATE FUNCTION access.guard_user() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
BEGIN
    IF NEW.name <> OLD.name THEN
        RAISE EXCEPTION 'user % keeps the name', OLD.name USING ERRCODE = 'insufficient_privilege';
    END IF;
    RETURN NEW;
END
$$;

CREATE FUNCTION books.book_posting() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    AS $$
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

CREATE TABLE books.rerating_items (
    rerating_id bigint NOT NULL,
    place integer NOT NULL,
    account_id text NOT NULL COLLATE pg_catalog."C",
    ended_at timestamp with time zone NOT NULL,
    cdr_id text NOT NULL COLLATE pg_catalog."C",
    copy bigint NOT NULL,
    service text NOT NULL COLLATE pg_catalog."C",
    called text NOT NULL COLLATE pg_catalog."C",
    provider_id text COLLATE pg_catalog."C",
    billable_seconds integer NOT NULL,
    cdr_hash bytea NOT NULL,
    corrects bigint,
    old_retail_micros bigint,
    old_wholesale_micros bigint,
    new_retail_micros bigint,
    new_wholesale_micros bigint,
    old_charges bytea NOT NULL,
    new_charges bytea,
    problem text COLLATE pg_catalog."C",
    detail text,
    CONSTRAINT rerating_items_cdr_hash_check CHECK ((length(cdr_hash) = 32)),
    CONSTRAINT rerating_items_check CHECK (((problem IS NULL) = (new_charges IS NOT NULL))),
    CONSTRAINT rerating_items_check1 CHECK (((problem IS NULL) = (detail IS NULL))),
    CONSTRAINT rerating_items_check2 CHECK (((problem IS NULL) OR ((new_retail_micros IS NULL) AND (new_wholesale_micros IS NULL)))),
    CONSTRAINT rerating_items_place_check CHECK ((place > 0))
);

COMMENT ON TABLE books.rerating_items IS 'Calls of a run whose charges differ, old and new; and those that have no price any more (`problem`), which stay as they are';

COMMENT ON COLUMN books.rerating_items.cdr_hash IS 'SHA-256 of the rated CDR''s bytes';

COMMENT ON COLUMN books.rerating_items.corrects IS 'The run whose item the old charges are; null: they are the rated CDR''s own';

COMMENT ON COLUMN books.rerating_items.old_charges IS 'Both charges in all their parts, as JSON';

CREATE FUNCTION books.correction_of(cdr text, ended timestamp with time zone, nth bigint) RETURNS SETOF books.rerating_items
    LANGUAGE sql STABLE ROWS 1
    AS $$
    SELECT i.* FROM books.rerating_items i
    JOIN books.rerating_accounts a ON a.rerating_id = i.rerating_id AND a.account_id = i.account_id
    WHERE i.cdr_id = cdr AND i.ended_at = ended AND i.copy = nth AND i.problem IS NULL AND a.state = 'posted'
    ORDER BY a.posted_seq DESC LIMIT 1
$$;

COMMENT ON FUNCTION books.correction_of(cdr text, ended timestamp with time zone, nth bigint) IS 'The latest item that was posted and not taken back, of one rated CDR';

CREATE FUNCTION books.ensure_month(month date) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    AS $$
DECLARE
    first_day constant date := pg_catalog.date_trunc('month', month);
    next_first constant date := first_day + interval '1 month';
    made constant text := 'transfers' || to_char(first_day, '_YYYY_MM');
BEGIN
    IF first_day < '1999-12-01' OR first_day >= '2100-02-01' THEN
        RAISE EXCEPTION 'the month % lies outside of 2000-2099', first_day USING ERRCODE = 'datetime_field_overflow';
    END IF;
    PERFORM pg_catalog.pg_advisory_xact_lock(pg_catalog.hashtextextended('books.ensure_month', 0));
    IF to_regclass('books.' || made) IS NULL THEN
        EXECUTE format('CREATE TABLE books.%I (LIKE books.transfers INCLUDING ALL EXCLUDING INDEXES)', made);
        EXECUTE format(
            'ALTER TABLE books.transfers ATTACH PARTITION books.%I FOR VALUES FROM (%L) TO (%L)',
            made, first_day, next_first
        );
        EXECUTE format(
            'CREATE TRIGGER only_grows BEFORE TRUNCATE ON books.%I '
            'FOR EACH STATEMENT EXECUTE FUNCTION plumbing.refuse_change()',
            made
        );
    END IF;
END
$$;

COMMENT ON FUNCTION books.ensure_month(month date) IS 'Makes the partition of a month where it is missing';

CREATE FUNCTION books.guard_preview() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
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

CREATE FUNCTION books.guard_rerating() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
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

CREATE FUNCTION books.guard_rerating_account() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
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

CREATE FUNCTION facts.ensure_month(month date) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    AS $$
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

COMMENT ON FUNCTION facts.ensure_month(month date) IS 'Makes the partitions of a month where they are missing';

CREATE FUNCTION facts.forget_month(partition text) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    AS $$
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

COMMENT ON FUNCTION facts.forget_month(partition text) IS 'Drops a partition of attempts or decisions; refuses those of the last twelve months and all others';

CREATE FUNCTION facts.old_months(before date) RETURNS TABLE(partition text, first_day date, estimated_rows bigint)
    LANGUAGE sql STABLE
    SET search_path TO ''
    AS $_$
    SELECT c.relname::text, to_date(right(c.relname, 7), 'YYYY_MM'), greatest(c.reltuples, 0)::bigint
    FROM pg_catalog.pg_inherits i
    JOIN pg_catalog.pg_class c ON c.oid = i.inhrelid
    JOIN pg_catalog.pg_class p ON p.oid = i.inhparent
    JOIN pg_catalog.pg_namespace n ON n.oid = p.relnamespace
    WHERE n.nspname = 'facts' AND p.relname IN ('attempts', 'decisions')
      AND c.relname ~ '_[0-9]{4}_[0-9]{2}$' AND to_date(right(c.relname, 7), 'YYYY_MM') < before
    ORDER BY 2, 1
$_$;

COMMENT ON FUNCTION facts.old_months(before date) IS 'Partitions of attempts and decisions of months before the one that begins at a day';

CREATE TABLE office.locks (
    lock_id office.id NOT NULL,
    kind text NOT NULL,
    digits office.digits NOT NULL,
    account_id office.id,
    provider_id office.id,
    author office.words NOT NULL,
    reason office.words NOT NULL,
    created_at timestamp with time zone NOT NULL,
    ends_at timestamp with time zone,
    lifted_at timestamp with time zone,
    lifted_by text,
    lift_reason office.words,
    revision integer DEFAULT 1 NOT NULL,
    changed_at timestamp with time zone NOT NULL,
    changed_by text NOT NULL,
    changed_as text,
    change_reason office.words NOT NULL,
    CONSTRAINT lifted_has_its_reason CHECK ((((lifted_at IS NULL) = (lifted_by IS NULL)) AND ((lifted_at IS NULL) = (lift_reason IS NULL)))),
    CONSTRAINT locks_kind_check CHECK ((kind = ANY (ARRAY['prefix'::text, 'number'::text]))),
    CONSTRAINT locks_revision_check CHECK ((revision > 0))
);

COMMENT ON TABLE office.locks IS 'Forbidden numbers and prefixes (§2.2); a lock is lifted, never deleted';

COMMENT ON COLUMN office.locks.account_id IS 'Null: for everyone (global)';

COMMENT ON COLUMN office.locks.provider_id IS 'Null: whoever carries the call';

COMMENT ON COLUMN office.locks.author IS 'Whom to ask; he or a manager may lift it';

COMMENT ON COLUMN office.locks.ends_at IS 'When it is to be lifted by itself; null: never';

COMMENT ON COLUMN office.locks.lifted_at IS 'Since when it does not deny any more; null: it is in force';

COMMENT ON COLUMN office.locks.changed_at IS 'The latest change, as the history has it, with who, in which role and why';

CREATE FUNCTION office.change_lock(lock_id text, revision integer, kind text, digits text, account_id text, provider_id text, reason text, ends_at timestamp with time zone, actor text, acting_as text, why text, at timestamp with time zone) RETURNS office.locks
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    AS $$
DECLARE
    there office.locks;
BEGIN
    there := office.lock_in_force(lock_id, revision);
    PERFORM office.check_lock_rights(actor, acting_as, there.author);
    PERFORM office.check_lock_is_new(lock_id, kind, digits, account_id, provider_id);
    UPDATE office.locks l SET
        kind = change_lock.kind, digits = change_lock.digits, account_id = change_lock.account_id,
        provider_id = change_lock.provider_id, reason = change_lock.reason, ends_at = change_lock.ends_at,
        changed_at = greatest(at, l.changed_at), changed_by = actor, changed_as = acting_as, change_reason = why
    WHERE l.lock_id = change_lock.lock_id RETURNING l.* INTO there;
    RETURN there;
END
$$;

COMMENT ON FUNCTION office.change_lock(lock_id text, revision integer, kind text, digits text, account_id text, provider_id text, reason text, ends_at timestamp with time zone, actor text, acting_as text, why text, at timestamp with time zone) IS 'A lock that is in force, as it is to be; `revision` is that which it had when it was read';

CREATE FUNCTION office.check_lock_is_new(but text, kind text, digits text, account_id text, provider_id text) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
DECLARE
    same text;
BEGIN
    -- Two who set the same lock at once come one after the other.
    PERFORM pg_catalog.pg_advisory_xact_lock(pg_catalog.hashtextextended('office.locks', 0));
    SELECT l.lock_id INTO same FROM office.locks l
    WHERE l.lifted_at IS NULL AND l.lock_id <> but AND l.digits = check_lock_is_new.digits
      AND l.kind = check_lock_is_new.kind
      AND l.account_id IS NOT DISTINCT FROM check_lock_is_new.account_id
      AND l.provider_id IS NOT DISTINCT FROM check_lock_is_new.provider_id
    ORDER BY l.created_at, l.lock_id LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'lock % bans the very same already', same
            USING ERRCODE = 'unique_violation', CONSTRAINT = 'lock_is_set_once';
    END IF;
END
$$;

COMMENT ON FUNCTION office.check_lock_is_new(but text, kind text, digits text, account_id text, provider_id text) IS 'Raises unique_violation when another lock than `but` bans the same';

CREATE FUNCTION office.check_lock_rights(actor text, acting_as text, author text) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
DECLARE
    known record;
BEGIN
    -- Nobody's role changes until this is committed.
    SELECT u.role, u.status INTO known FROM access.users u WHERE u.name = actor FOR SHARE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'there is no user %: locks are set, changed and lifted by users', actor
            USING ERRCODE = 'insufficient_privilege';
    END IF;
    IF known.status <> 'active' OR known.role IS DISTINCT FROM acting_as THEN
        RAISE EXCEPTION 'user % is % %, and can''t act as %', actor, known.status, known.role, acting_as
            USING ERRCODE = 'insufficient_privilege';
    END IF;
    IF NOT office.may_set_locks(known.role) THEN
        RAISE EXCEPTION 'the role % may not set, change or lift locks', known.role
            USING ERRCODE = 'insufficient_privilege';
    END IF;
    IF author <> actor AND NOT office.may_lift_any_lock(known.role) THEN
        RAISE EXCEPTION 'the lock was set by %: only its author or a manager may change or lift it', author
            USING ERRCODE = 'insufficient_privilege';
    END IF;
END
$$;

COMMENT ON FUNCTION office.check_lock_rights(actor text, acting_as text, author text) IS 'Raises insufficient_privilege; author is null for a lock that is new';

CREATE FUNCTION office.end_locks(actor text, why text, at timestamp with time zone) RETURNS SETOF office.locks
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    AS $$
DECLARE
    latest timestamptz;
BEGIN
    -- No time counts that has not come yet, by the real clock or by the business clock where that one is set.
    SELECT least(at, greatest(pg_catalog.clock_timestamp(), max(
        CASE c.mode
            WHEN 'stopped' THEN c.stopped_at
            WHEN 'shifted' THEN pg_catalog.clock_timestamp() + c.offset_us * interval '1 microsecond'
        END
    ))) INTO latest FROM office.business_clock c;
    RETURN QUERY UPDATE office.locks l SET
        lifted_at = greatest(at, l.changed_at), lifted_by = actor, lift_reason = why,
        changed_at = greatest(at, l.changed_at), changed_by = actor, changed_as = NULL, change_reason = why
    WHERE l.lifted_at IS NULL AND l.ends_at <= latest RETURNING l.*;
END
$$;

COMMENT ON FUNCTION office.end_locks(actor text, why text, at timestamp with time zone) IS 'Lifts the locks whose time is over, as their authors have said beforehand';

CREATE FUNCTION office.guard_account() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
BEGIN
    IF ROW(NEW.account_id, NEW.currency, NEW.opening_balance_micros, NEW.opening_status)
       IS DISTINCT FROM ROW(OLD.account_id, OLD.currency, OLD.opening_balance_micros, OLD.opening_status) THEN
        RAISE EXCEPTION 'account % keeps its id, currency, opening balance and opening status', OLD.account_id
            USING ERRCODE = 'insufficient_privilege';
    END IF;
    RETURN NEW;
END
$$;

CREATE FUNCTION office.guard_approval() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
BEGIN
    IF OLD.approved_by IS NOT NULL AND (
        ROW(NEW.approved_at, NEW.approved_by) IS DISTINCT FROM ROW(OLD.approved_at, OLD.approved_by)
        OR ROW(NEW.name, NEW.provider_id, NEW.currency, NEW.rounding, NEW.decimals, NEW.valid_from, NEW.valid_to,
               NEW.prices, NEW.digest)
           IS DISTINCT FROM
           ROW(OLD.name, OLD.provider_id, OLD.currency, OLD.rounding, OLD.decimals, OLD.valid_from, OLD.valid_to,
               OLD.prices, OLD.digest)
    ) THEN
        RAISE EXCEPTION 'price list version % is approved: it can only be published or discarded', OLD.version_id
            USING ERRCODE = 'insufficient_privilege';
    END IF;
    IF NEW.restores IS DISTINCT FROM OLD.restores THEN
        RAISE EXCEPTION 'price list version % keeps its origin', OLD.version_id USING ERRCODE = 'insufficient_privilege';
    END IF;
    IF OLD.state = 'staged' AND NEW.state = 'published' AND NEW.approved_by IS NULL
       AND NOT pg_catalog.pg_has_role(
           current_user, (SELECT c.relowner FROM pg_catalog.pg_class c WHERE c.oid = TG_RELID), 'USAGE')
       AND NOT EXISTS (
           SELECT FROM office.price_list_versions v
           WHERE v.version_id = NEW.restores AND v.price_list_id = NEW.price_list_id
             AND v.state IN ('published', 'withdrawn') AND v.digest = NEW.digest AND v.prices = NEW.prices
             AND ROW(v.name, v.provider_id, v.currency, v.rounding, v.decimals, v.valid_from, v.valid_to)
                 IS NOT DISTINCT FROM
                 ROW(NEW.name, NEW.provider_id, NEW.currency, NEW.rounding, NEW.decimals, NEW.valid_from, NEW.valid_to)
       )
    THEN
        RAISE EXCEPTION 'price list version % is not approved: somebody else than % has to look at it first',
            OLD.version_id, OLD.created_by
            USING ERRCODE = 'insufficient_privilege';
    END IF;
    RETURN NEW;
END
$$;

CREATE FUNCTION office.guard_approved_prices() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
DECLARE
    approved constant bigint := (
        SELECT min(v.version_id) FROM office.price_list_versions v
        WHERE v.approved_by IS NOT NULL AND v.state = 'staged'
          AND v.version_id IN (SELECT DISTINCT t.version_id FROM touched t)
    );
BEGIN
    IF approved IS NOT NULL THEN
        RAISE EXCEPTION 'price list version % is approved: its prices can''t be changed any more', approved
            USING ERRCODE = 'insufficient_privilege';
    END IF;
    RETURN NULL;
END
$$;

CREATE FUNCTION office.guard_command() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
BEGIN
    IF ROW(NEW.command_id, NEW.kind, NEW.account_id, NEW.at, NEW.amount_micros, NEW.reference, NEW.source, NEW.reason,
           NEW.reverses, NEW.author, NEW.ordered_at)
       IS DISTINCT FROM
       ROW(OLD.command_id, OLD.kind, OLD.account_id, OLD.at, OLD.amount_micros, OLD.reference, OLD.source, OLD.reason,
           OLD.reverses, OLD.author, OLD.ordered_at) THEN
        RAISE EXCEPTION 'command % was ordered: only its state can change', OLD.command_id
            USING ERRCODE = 'insufficient_privilege';
    END IF;
    RETURN NEW;
END
$$;

CREATE FUNCTION office.guard_letter() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
BEGIN
    IF ROW(NEW.letter_id, NEW.kind, NEW.once_key, NEW.client_id, NEW.account_id, NEW.recipient, NEW.copies, NEW.subject,
           NEW.body, NEW.written_at)
       IS DISTINCT FROM
       ROW(OLD.letter_id, OLD.kind, OLD.once_key, OLD.client_id, OLD.account_id, OLD.recipient, OLD.copies, OLD.subject,
           OLD.body, OLD.written_at) THEN
        RAISE EXCEPTION 'letter % was written: only its state can change', OLD.letter_id
            USING ERRCODE = 'insufficient_privilege';
    END IF;
    RETURN NEW;
END
$$;

CREATE FUNCTION office.guard_nightly_run() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
BEGIN
    IF OLD.state = 'done' OR NEW.day <> OLD.day OR NEW.job <> OLD.job OR NEW.attempt < OLD.attempt THEN
        RAISE EXCEPTION 'job % of %: what is done stays done', OLD.job, OLD.day USING ERRCODE = 'insufficient_privilege';
    END IF;
    RETURN NEW;
END
$$;

CREATE FUNCTION office.guard_number_request() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
BEGIN
    IF OLD.state NOT IN ('waiting_for_client', 'waiting') AND (
        OLD.ended_at IS NOT NULL
        OR to_jsonb(NEW) - 'ended_at' IS DISTINCT FROM to_jsonb(OLD) - 'ended_at'
    ) THEN
        RAISE EXCEPTION 'request % is %: it stays as it was decided', OLD.request_id, OLD.state
            USING ERRCODE = 'insufficient_privilege';
    END IF;
    IF (NEW.number, NEW.asked_by, NEW.asked_at, NEW.department)
        IS DISTINCT FROM (OLD.number, OLD.asked_by, OLD.asked_at, OLD.department) THEN
        RAISE EXCEPTION 'request %: who asked for what, and when, stays', OLD.request_id
            USING ERRCODE = 'insufficient_privilege';
    END IF;
    RETURN NEW;
END
$$;

CREATE FUNCTION office.guard_number_way() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
DECLARE
    ignored constant boolean := NEW.fmtn OR coalesce(NEW.place, '') = 'Агентские номера';
BEGIN
    IF pg_catalog.pg_has_role(
        current_user, (SELECT c.relowner FROM pg_catalog.pg_class c WHERE c.oid = TG_RELID), 'MEMBER'
    ) THEN
        RETURN NEW;
    END IF;
    IF TG_OP = 'UPDATE' AND NEW.status <> OLD.status AND NOT (
        (OLD.status, NEW.status) IN (
            ('free', 'reserved'), ('reserved', 'in_use'), ('reserved', 'free'), ('reserved', 'archive'),
            ('in_use', 'archive'), ('archive', 'free')
        )
        OR (OLD.status, NEW.status) = ('in_use', 'free') AND ignored
    ) THEN
        RAISE EXCEPTION 'number % is %, and can''t become %', NEW.number, OLD.status, NEW.status
            USING ERRCODE = 'insufficient_privilege';
    END IF;
    IF NEW.saleable = 'forced_yes' AND (TG_OP = 'INSERT' OR OLD.saleable <> 'forced_yes') AND NOT EXISTS (
        SELECT FROM office.number_requests r
        WHERE r.number = NEW.number AND r.state = 'approved' AND r.ended_at IS NULL
    ) THEN
        RAISE EXCEPTION 'number % is forced by approval alone', NEW.number USING ERRCODE = 'insufficient_privilege';
    END IF;
    RETURN NEW;
END
$$;

COMMENT ON FUNCTION office.guard_number_way() IS 'Raises insufficient_privilege for a change that the rules do not know (§1.4)';

CREATE FUNCTION office.guard_prices() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
DECLARE
    one record;
BEGIN
    FOR one IN
        SELECT p.version_id, v.state
        FROM (SELECT DISTINCT version_id FROM touched) p
        LEFT JOIN office.price_list_versions v ON v.version_id = p.version_id
    LOOP
        IF one.state IS NULL THEN
            RAISE EXCEPTION 'there is no price list version %', one.version_id
                USING ERRCODE = 'foreign_key_violation';
        ELSIF one.state NOT IN ('staged', 'discarded') OR (one.state = 'discarded' AND TG_OP <> 'DELETE') THEN
            RAISE EXCEPTION 'price list version % is %: its prices can''t be changed any more', one.version_id, one.state
                USING ERRCODE = 'insufficient_privilege';
        END IF;
    END LOOP;
    IF TG_OP <> 'DELETE' THEN
        FOR one IN
            SELECT p.band_id FROM (SELECT DISTINCT band_id FROM touched WHERE band_id IS NOT NULL) p
            WHERE NOT EXISTS (SELECT FROM office.bands b WHERE b.band_id = p.band_id)
        LOOP
            RAISE EXCEPTION 'there is no band %', one.band_id USING ERRCODE = 'foreign_key_violation';
        END LOOP;
    END IF;
    RETURN NULL;
END
$$;

CREATE FUNCTION office.guard_subscriber() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        IF NEW.status <> 'new' THEN
            RAISE EXCEPTION 'subscriber % begins as new', NEW.subscriber_id USING ERRCODE = 'insufficient_privilege';
        END IF;
        NEW.revision := 1;
        RETURN NEW;
    END IF;
    IF (NEW.subscriber_id, NEW.number, NEW.account_id, NEW.reserved_at)
        IS DISTINCT FROM (OLD.subscriber_id, OLD.number, OLD.account_id, OLD.reserved_at) THEN
        RAISE EXCEPTION 'subscriber % keeps number and account: close it, and create another', OLD.subscriber_id
            USING ERRCODE = 'insufficient_privilege';
    END IF;
    IF OLD.status = 'closed' OR (OLD.status = 'in_use' AND NEW.status = 'new') THEN
        RAISE EXCEPTION 'subscriber % is %, and can''t become %', OLD.subscriber_id, OLD.status, NEW.status
            USING ERRCODE = 'insufficient_privilege';
    END IF;
    NEW.revision := OLD.revision + 1;
    RETURN NEW;
END
$$;

CREATE FUNCTION office.guard_version() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        RAISE EXCEPTION 'price list version % stays: discard or withdraw it', OLD.version_id
            USING ERRCODE = 'insufficient_privilege';
    END IF;
    IF ROW(NEW.version_id, NEW.price_list_id, NEW.kind, NEW.number, NEW.created_at, NEW.created_by)
       IS DISTINCT FROM ROW(OLD.version_id, OLD.price_list_id, OLD.kind, OLD.number, OLD.created_at, OLD.created_by) THEN
        RAISE EXCEPTION 'price list version % keeps its list, number and origin', OLD.version_id
            USING ERRCODE = 'insufficient_privilege';
    END IF;
    IF OLD.state <> 'staged' AND (
        NOT (NEW.state = OLD.state OR (OLD.state = 'published' AND NEW.state = 'withdrawn'))
        OR ROW(NEW.name, NEW.provider_id, NEW.currency, NEW.rounding, NEW.decimals, NEW.valid_from, NEW.valid_to, NEW.prices, NEW.digest,
               NEW.source, NEW.in_force_from, NEW.published_at, NEW.published_by)
           IS DISTINCT FROM
           ROW(OLD.name, OLD.provider_id, OLD.currency, OLD.rounding, OLD.decimals, OLD.valid_from, OLD.valid_to, OLD.prices, OLD.digest,
               OLD.source, OLD.in_force_from, OLD.published_at, OLD.published_by)
    ) THEN
        RAISE EXCEPTION 'price list version % is %: it can''t be changed any more', OLD.version_id, OLD.state
            USING ERRCODE = 'insufficient_privilege';
    END IF;
    RETURN NEW;
END
$$;

CREATE FUNCTION office.lift_lock(lock_id text, revision integer, actor text, acting_as text, why text, at timestamp with time zone) RETURNS office.locks
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    AS $$
DECLARE
    there office.locks;
BEGIN
    there := office.lock_in_force(lock_id, revision);
    PERFORM office.check_lock_rights(actor, acting_as, there.author);
    UPDATE office.locks l SET
        lifted_at = greatest(at, l.changed_at), lifted_by = actor, lift_reason = why,
        changed_at = greatest(at, l.changed_at), changed_by = actor, changed_as = acting_as, change_reason = why
    WHERE l.lock_id = lift_lock.lock_id RETURNING l.* INTO there;
    RETURN there;
END
$$;

COMMENT ON FUNCTION office.lift_lock(lock_id text, revision integer, actor text, acting_as text, why text, at timestamp with time zone) IS 'Ends a lock: since now it denies nothing';

CREATE FUNCTION office.lock_in_force(lock_id text, revision integer) RETURNS office.locks
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
DECLARE
    found_lock office.locks;
BEGIN
    SELECT l.* INTO found_lock FROM office.locks l WHERE l.lock_id = lock_in_force.lock_id FOR UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'there is no lock %', lock_in_force.lock_id USING ERRCODE = 'no_data_found';
    END IF;
    IF found_lock.revision <> lock_in_force.revision THEN
        RAISE EXCEPTION 'lock % was changed meanwhile', lock_in_force.lock_id USING ERRCODE = 'serialization_failure';
    END IF;
    IF found_lock.lifted_at IS NOT NULL THEN
        RAISE EXCEPTION 'lock % is lifted', lock_in_force.lock_id USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
    RETURN found_lock;
END
$$;

COMMENT ON FUNCTION office.lock_in_force(lock_id text, revision integer) IS 'A lock for whoever is about to change it, as it was read before';

CREATE FUNCTION office.may_lift_any_lock(role text) RETURNS boolean
    LANGUAGE sql IMMUTABLE
    SET search_path TO ''
    AS $$
    SELECT role = 'manager'
$$;

COMMENT ON FUNCTION office.may_lift_any_lock(role text) IS 'Whether a role changes and lifts everyone''s locks';

CREATE FUNCTION office.may_set_locks(role text) RETURNS boolean
    LANGUAGE sql IMMUTABLE
    SET search_path TO ''
    AS $$
    SELECT role IN ('b2b', 'billing', 'manager')
$$;

COMMENT ON FUNCTION office.may_set_locks(role text) IS 'Whether a role sets locks, and changes and lifts those of its own';

CREATE FUNCTION office.number_lock_changes() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        NEW.revision := 1;
        RETURN NEW;
    END IF;
    IF NEW.lock_id <> OLD.lock_id THEN
        RAISE EXCEPTION 'lock % keeps its id', OLD.lock_id USING ERRCODE = 'insufficient_privilege';
    END IF;
    IF OLD.lifted_at IS NOT NULL AND NEW.lifted_at IS NOT NULL THEN
        RAISE EXCEPTION 'lock % is lifted: it can only be set again', OLD.lock_id
            USING ERRCODE = 'insufficient_privilege';
    END IF;
    IF OLD.lifted_at IS NULL AND ROW(NEW.author, NEW.created_at) IS DISTINCT FROM ROW(OLD.author, OLD.created_at) THEN
        RAISE EXCEPTION 'lock % keeps its author and date until it is lifted', OLD.lock_id
            USING ERRCODE = 'insufficient_privilege';
    END IF;
    NEW.revision := OLD.revision + 1;
    RETURN NEW;
END
$$;

CREATE FUNCTION office.number_number_changes() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
BEGIN
    IF TG_OP = 'UPDATE' AND NEW.number <> OLD.number THEN
        RAISE EXCEPTION 'number % stays itself', OLD.number USING ERRCODE = 'insufficient_privilege';
    END IF;
    NEW.revision := CASE WHEN TG_OP = 'INSERT' THEN 1 ELSE OLD.revision + 1 END;
    RETURN NEW;
END
$$;

CREATE FUNCTION office.price_difference(old_version bigint, new_version bigint, at timestamp with time zone) RETURNS TABLE(prefix text, from_second integer, service text, place text, incoming_service text, band_id text, old_connect_fee bigint, old_price bigint, old_per integer, old_step integer, old_min bigint, old_max bigint, old_attempt_fee bigint, old_line integer, old_minute numeric, new_connect_fee bigint, new_price bigint, new_per integer, new_step integer, new_min bigint, new_max bigint, new_attempt_fee bigint, new_line integer, new_minute numeric, kind text, percent numeric)
    LANGUAGE sql STABLE
    AS $$
WITH dated AS MATERIALIZED (
    SELECT DISTINCT ON (p.version_id, p.prefix, p.from_second, p.service, p.place, p.incoming_service, p.band_id) p.*
    FROM office.prices p
    WHERE p.version_id IN (old_version, new_version) AND (p.valid_from IS NOT NULL OR p.valid_to IS NOT NULL)
      AND (p.valid_from IS NULL OR p.valid_from <= at) AND (p.valid_to IS NULL OR p.valid_to > at)
    ORDER BY p.version_id, p.prefix, p.from_second, p.service, p.place, p.incoming_service, p.band_id,
             p.valid_from DESC NULLS LAST, p.valid_to NULLS LAST
), present AS NOT MATERIALIZED (
    SELECT * FROM dated
    UNION ALL
    SELECT p.* FROM office.prices p
    WHERE p.version_id IN (old_version, new_version) AND p.valid_from IS NULL AND p.valid_to IS NULL
      AND NOT EXISTS (
        SELECT FROM dated d
        WHERE d.version_id = p.version_id AND d.prefix = p.prefix AND d.from_second = p.from_second
          AND coalesce(d.service, '') = coalesce(p.service, '') AND coalesce(d.place, '') = coalesce(p.place, '')
          AND coalesce(d.incoming_service, '') = coalesce(p.incoming_service, '')
          AND coalesce(d.band_id, '') = coalesce(p.band_id, '')
      )
), keyed AS NOT MATERIALIZED (
    SELECT version_id, prefix, from_second, coalesce(service, '') AS service, coalesce(place, '') AS place,
           coalesce(incoming_service, '') AS incoming_service, coalesce(band_id, '') AS band_id,
           connect_fee_micros, price_micros, per_seconds, step_seconds, min_charge_micros, max_charge_micros,
           attempt_fee_micros, line,
           CASE WHEN from_second = 0
                THEN connect_fee_micros
                     + (59 + step_seconds) / step_seconds * step_seconds * price_micros::numeric / per_seconds
                ELSE price_micros::numeric * 60 / per_seconds
           END AS minute_micros
    FROM present
), compared AS (
    SELECT prefix, from_second, service, place, incoming_service, band_id,
           o.connect_fee_micros AS old_connect_fee, o.price_micros AS old_price, o.per_seconds AS old_per,
           o.step_seconds AS old_step, o.min_charge_micros AS old_min, o.max_charge_micros AS old_max,
           o.attempt_fee_micros AS old_attempt_fee, o.line AS old_line, o.minute_micros AS old_minute,
           n.connect_fee_micros AS new_connect_fee, n.price_micros AS new_price, n.per_seconds AS new_per,
           n.step_seconds AS new_step, n.min_charge_micros AS new_min, n.max_charge_micros AS new_max,
           n.attempt_fee_micros AS new_attempt_fee, n.line AS new_line, n.minute_micros AS new_minute,
           CASE
               WHEN o.prefix IS NULL THEN 'new'
               WHEN n.prefix IS NULL THEN 'gone'
               WHEN n.minute_micros > o.minute_micros THEN 'dearer'
               WHEN n.minute_micros < o.minute_micros THEN 'cheaper'
               WHEN n.connect_fee_micros <> o.connect_fee_micros OR n.price_micros <> o.price_micros
                    OR n.per_seconds <> o.per_seconds OR n.step_seconds <> o.step_seconds
                    OR n.min_charge_micros IS DISTINCT FROM o.min_charge_micros
                    OR n.max_charge_micros IS DISTINCT FROM o.max_charge_micros
                    OR n.attempt_fee_micros <> o.attempt_fee_micros THEN 'changed'
               ELSE 'same'
           END AS kind,
           CASE WHEN o.minute_micros > 0 THEN round((n.minute_micros - o.minute_micros) * 100 / o.minute_micros, 2) END
               AS percent
    FROM (SELECT * FROM keyed WHERE version_id = old_version) o
    FULL JOIN (SELECT * FROM keyed WHERE version_id = new_version) n
        USING (prefix, from_second, service, place, incoming_service, band_id)
)
SELECT * FROM compared
$$;

COMMENT ON FUNCTION office.price_difference(old_version bigint, new_version bigint, at timestamp with time zone) IS 'Prices of two versions of a list side by side: new, gone, dearer, cheaper, changed, same';

CREATE FUNCTION office.set_lock(lock_id text, kind text, digits text, account_id text, provider_id text, reason text, ends_at timestamp with time zone, actor text, acting_as text, at timestamp with time zone) RETURNS office.locks
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    AS $$
DECLARE
    made office.locks;
BEGIN
    PERFORM office.check_lock_rights(actor, acting_as, NULL);
    PERFORM office.check_lock_is_new('', kind, digits, account_id, provider_id);
    INSERT INTO office.locks (
        lock_id, kind, digits, account_id, provider_id, author, reason, created_at, ends_at,
        changed_at, changed_by, changed_as, change_reason
    ) VALUES (
        set_lock.lock_id, set_lock.kind, set_lock.digits, set_lock.account_id, set_lock.provider_id, actor,
        set_lock.reason, at, set_lock.ends_at, at, actor, acting_as, set_lock.reason
    ) RETURNING * INTO made;
    RETURN made;
END
$$;

COMMENT ON FUNCTION office.set_lock(lock_id text, kind text, digits text, account_id text, provider_id text, reason text, ends_at timestamp with time zone, actor text, acting_as text, at timestamp with time zone) IS 'A new lock; its author is who acts';

CREATE FUNCTION office.word_parts(words text[]) RETURNS text[]
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    AS $_$
    SELECT coalesce(array_agg(DISTINCT substr('^' || w || '$', i, 3)), '{}')
    FROM unnest(words) AS w, generate_series(1, length(w)) AS i
$_$;

COMMENT ON FUNCTION office.word_parts(words text[]) IS 'Three signs after the other of ^word$, for each word; backoffice/clients.py makes the same of what is looked for';

CREATE FUNCTION office.words_of(words text) RETURNS text[]
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    AS $$
    SELECT coalesce(pg_catalog.regexp_split_to_array(nullif(pg_catalog.btrim(pg_catalog.regexp_replace(
        pg_catalog.translate(pg_catalog.lower(pg_catalog.normalize(words) COLLATE pg_catalog.pg_c_utf8), 'ё', 'е'),
        '[^[:alnum:]]+', ' ', 'g'
    )), ''), ' '), '{}')
$$;

COMMENT ON FUNCTION office.words_of(words text) IS 'Words of a text as they are searched: small letters, ё as е; backoffice/office.py makes the same of names';

CREATE FUNCTION office.words_of_all(texts text[]) RETURNS text[]
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    AS $$ SELECT office.words_of(pg_catalog.array_to_string(texts, ' ')) $$;

COMMENT ON FUNCTION office.words_of_all(texts text[]) IS 'Words of some texts one after the other, without those that are null';

CREATE FUNCTION office.write_lock_history() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    AS $$
BEGIN
    INSERT INTO office.lock_history (
        lock_id, revision, action, at, actor, acted_as, why, kind, digits, account_id, provider_id, author, reason,
        created_at, ends_at, lifted_at
    ) VALUES (
        NEW.lock_id, NEW.revision,
        CASE
            WHEN NEW.lifted_at IS NOT NULL THEN 'lifted'
            WHEN TG_OP = 'INSERT' OR OLD.lifted_at IS NOT NULL THEN 'set'
            ELSE 'changed'
        END,
        NEW.changed_at, NEW.changed_by, NEW.changed_as, NEW.change_reason, NEW.kind, NEW.digits, NEW.account_id,
        NEW.provider_id, NEW.author, NEW.reason, NEW.created_at, NEW.ends_at, NEW.lifted_at
    );
    RETURN NULL;
END
$$;

CREATE FUNCTION office.write_number_history() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    AS $$
BEGIN
    INSERT INTO office.number_history (
        number, revision, at, actor, why, status, account_id, place, region, provider_id, fmtn, joined_on, archived_on,
        saleable, removed_at
    )
    SELECT number, revision, changed_at, changed_by, change_reason, status, account_id, place, region, provider_id, fmtn,
           joined_on, archived_on, saleable, removed_at
    FROM touched;
    RETURN NULL;
END
$$;

CREATE FUNCTION office.write_subscriber_history() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    AS $$
BEGIN
    INSERT INTO office.subscriber_history (subscriber_id, revision, at, actor, why, status, planned_on)
    VALUES (NEW.subscriber_id, NEW.revision, NEW.changed_at, NEW.changed_by, NEW.change_reason, NEW.status,
            NEW.planned_on);
    RETURN NULL;
END
$$;

CREATE FUNCTION plumbing.audit_faults(OUT seq bigint, OUT fault text) RETURNS SETOF record
    LANGUAGE sql STABLE
    SET search_path TO ''
    AS $$
    WITH chain AS (
        SELECT a, row_number() OVER w AS place,
               lag(a.hash, 1, decode(repeat('00', 32), 'hex')) OVER w AS hash_before
        FROM plumbing.audit a WINDOW w AS (ORDER BY a.seq)
    ), faults AS (
        SELECT (a).seq, CASE
            WHEN (a).seq <> place THEN 'rows before it are missing'
            WHEN (a).prev_hash <> hash_before THEN 'it does not follow the row before it'
            WHEN (a).hash <> plumbing.audit_hash(a) THEN 'it was changed'
        END AS fault
        FROM chain
    )
    SELECT f.seq, f.fault FROM faults f WHERE f.fault IS NOT NULL
    UNION ALL
    SELECT h.seq, 'rows after the last one are missing' FROM plumbing.audit_head h
    WHERE h.seq <> (SELECT coalesce(max(a.seq), 0) FROM plumbing.audit a)
    ORDER BY 1
$$;

COMMENT ON FUNCTION plumbing.audit_faults(OUT seq bigint, OUT fault text) IS 'Rows where the chain does not hold; none: nothing was changed or taken out';

CREATE TABLE plumbing.audit (
    seq bigint NOT NULL,
    change_id bigint NOT NULL,
    at timestamp with time zone NOT NULL,
    actor text NOT NULL,
    role text,
    interface text,
    address inet,
    action text NOT NULL,
    entity text NOT NULL,
    entity_id text NOT NULL,
    reason text NOT NULL,
    before jsonb,
    after jsonb,
    prev_hash bytea NOT NULL,
    hash bytea NOT NULL,
    CONSTRAINT audit_action_check CHECK ((action <> ''::text)),
    CONSTRAINT audit_actor_check CHECK ((actor <> ''::text)),
    CONSTRAINT audit_entity_check CHECK ((entity <> ''::text)),
    CONSTRAINT audit_hash_check CHECK ((length(hash) = 32)),
    CONSTRAINT audit_prev_hash_check CHECK ((length(prev_hash) = 32)),
    CONSTRAINT audit_reason_check CHECK ((reason <> ''::text))
);

COMMENT ON TABLE plumbing.audit IS 'Who changed what, when and why; only grows, and each row vouches for the one before';

COMMENT ON COLUMN plumbing.audit.seq IS '1, 2, 3, … in the order of the commits, without gaps';

COMMENT ON COLUMN plumbing.audit.change_id IS 'What was changed in one transaction';

COMMENT ON COLUMN plumbing.audit.at IS 'By the business clock';

COMMENT ON COLUMN plumbing.audit.role IS 'In which the actor did it';

COMMENT ON COLUMN plumbing.audit.interface IS 'api, cli, …';

COMMENT ON COLUMN plumbing.audit.before IS 'The entity as it was; null: it was not there';

COMMENT ON COLUMN plumbing.audit.after IS 'The entity as it is now; null: it is gone';

COMMENT ON COLUMN plumbing.audit.hash IS 'SHA-256 over prev_hash and all other columns (plumbing.audit_hash)';

CREATE FUNCTION plumbing.audit_hash(a plumbing.audit) RETURNS bytea
    LANGUAGE sql STABLE
    SET search_path TO ''
    AS $$
    SELECT sha256(a.prev_hash || convert_to(jsonb_build_array(
        a.seq, a.change_id, (extract(epoch FROM a.at) * 1000000)::bigint, a.actor, a.role, a.interface,
        host(a.address), a.action, a.entity, a.entity_id, a.reason, a.before, a.after
    )::text, 'UTF8'))
$$;

COMMENT ON FUNCTION plumbing.audit_hash(a plumbing.audit) IS 'What the hash of a row must be';

CREATE FUNCTION plumbing.chain_audit() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    AS $$
BEGIN
    -- Sees the rows before it of the same statement too.
    SELECT a.seq + 1, a.hash INTO NEW.seq, NEW.prev_hash FROM plumbing.audit a ORDER BY a.seq DESC LIMIT 1;
    IF NOT FOUND THEN
        NEW.seq := 1;
        NEW.prev_hash := decode(repeat('00', 32), 'hex');
    END IF;
    NEW.hash := plumbing.audit_hash(NEW);
    RETURN NEW;
END
$$;

CREATE FUNCTION plumbing.guard_outbox() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
BEGIN
    IF OLD.published_at IS NOT NULL
       OR ROW(NEW.seq, NEW.change_id, NEW.at, NEW.author, NEW.kind, NEW.key, NEW.payload)
          IS DISTINCT FROM ROW(OLD.seq, OLD.change_id, OLD.at, OLD.author, OLD.kind, OLD.key, OLD.payload) THEN
        RAISE EXCEPTION 'plumbing.outbox: row % can only be marked as published, once', OLD.seq
            USING ERRCODE = 'insufficient_privilege';
    END IF;
    RETURN NEW;
END
$$;

CREATE FUNCTION plumbing.leave_audit() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    AS $$
BEGIN
    UPDATE plumbing.audit_head h SET seq = a.seq, hash = a.hash
    FROM (SELECT seq, hash FROM plumbing.audit ORDER BY seq DESC LIMIT 1) a;
    RETURN NULL;
END
$$;

CREATE FUNCTION plumbing.leave_outbox() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    AS $$
BEGIN
    UPDATE plumbing.outbox_head SET seq = (SELECT coalesce(max(o.seq), 0) FROM plumbing.outbox o);
    PERFORM pg_catalog.pg_notify('tollgate_outbox', '');
    RETURN NULL;
END
$$;

CREATE FUNCTION plumbing.number_outbox() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    AS $$
BEGIN
    SELECT coalesce(max(o.seq), 0) + 1 INTO STRICT NEW.seq FROM plumbing.outbox o;
    RETURN NEW;
END
$$;

CREATE FUNCTION plumbing.refuse_change() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
BEGIN
    RAISE EXCEPTION '%.% only grows: % is not possible', TG_TABLE_SCHEMA, TG_TABLE_NAME, TG_OP
        USING ERRCODE = 'insufficient_privilege';
END
$$;

CREATE FUNCTION plumbing.take_audit() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    AS $$
BEGIN
    -- Waits for whoever wrote before and has not committed yet; a transaction that can't see those rows fails here, to
    -- be tried again.
    UPDATE plumbing.audit_head SET seq = seq;
    RETURN NULL;
END
$$;

CREATE FUNCTION plumbing.take_outbox() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    AS $$
BEGIN
    -- Whoever comes second gets its numbers when the first has committed: they are in the order of the commits.
    UPDATE plumbing.outbox_head SET seq = seq;
    RETURN NULL;
END
$$;

CREATE TABLE access.api_keys (
    prefix text NOT NULL COLLATE pg_catalog."C",
    secret_hash bytea NOT NULL,
    user_name access.user_name NOT NULL,
    purpose office.words NOT NULL,
    scopes text[] NOT NULL COLLATE pg_catalog."C",
    created_at timestamp with time zone NOT NULL,
    created_by text NOT NULL,
    expires_at timestamp with time zone NOT NULL,
    used_at timestamp with time zone,
    revoked_at timestamp with time zone,
    revoked_by text,
    revoked_why office.words,
    CONSTRAINT api_keys_check CHECK ((expires_at > created_at)),
    CONSTRAINT api_keys_check1 CHECK ((((revoked_at IS NULL) = (revoked_by IS NULL)) AND ((revoked_at IS NULL) = (revoked_why IS NULL)))),
    CONSTRAINT api_keys_prefix_check CHECK ((prefix ~ '^[a-z2-7]{8}$'::text)),
    CONSTRAINT api_keys_scopes_check CHECK ((cardinality(scopes) > 0)),
    CONSTRAINT api_keys_secret_hash_check CHECK ((length(secret_hash) = 32))
);

COMMENT ON TABLE access.api_keys IS 'Keys for programs: they may what their user''s role and their scopes both allow';

COMMENT ON COLUMN access.api_keys.prefix IS 'The part of a key that may be shown';

COMMENT ON COLUMN access.api_keys.scopes IS 'Names of permissions';

CREATE TABLE access.failed_logins (
    subject text NOT NULL COLLATE pg_catalog."C",
    failures integer NOT NULL,
    last_at timestamp with time zone NOT NULL,
    wait_until timestamp with time zone NOT NULL,
    CONSTRAINT failed_logins_failures_check CHECK ((failures > 0))
);

COMMENT ON TABLE access.failed_logins IS 'Wrong passwords in a row by name, whether there is such a user or not';

CREATE TABLE access.sessions (
    session_id text NOT NULL COLLATE pg_catalog."C",
    token_hash bytea NOT NULL,
    user_name access.user_name NOT NULL,
    created_at timestamp with time zone NOT NULL,
    used_at timestamp with time zone NOT NULL,
    expires_at timestamp with time zone NOT NULL,
    ended_at timestamp with time zone,
    ended_why text,
    address inet,
    agent text,
    CONSTRAINT sessions_check CHECK ((expires_at > created_at)),
    CONSTRAINT sessions_check1 CHECK (((ended_at IS NULL) = (ended_why IS NULL))),
    CONSTRAINT sessions_token_hash_check CHECK ((length(token_hash) = 32))
);

COMMENT ON TABLE access.sessions IS 'Who is signed in; by the machine''s clock, whatever the business clock says';

COMMENT ON COLUMN access.sessions.used_at IS 'To the minute; a session that is idle for too long is over';

COMMENT ON COLUMN access.sessions.expires_at IS 'When it is over, however busy';

CREATE TABLE access.users (
    name access.user_name NOT NULL,
    role text NOT NULL,
    full_name office.words NOT NULL,
    email office.words,
    phone office.words,
    status text DEFAULT 'active'::text NOT NULL,
    password_hash text,
    password_at timestamp with time zone,
    token_hash bytea,
    token_expires_at timestamp with time zone,
    created_at timestamp with time zone NOT NULL,
    created_by text NOT NULL,
    CONSTRAINT users_check CHECK (((password_hash IS NULL) = (password_at IS NULL))),
    CONSTRAINT users_check1 CHECK (((token_hash IS NULL) = (token_expires_at IS NULL))),
    CONSTRAINT users_role_check CHECK ((role = ANY (ARRAY['support'::text, 'sales'::text, 'marketing'::text, 'b2b'::text, 'billing'::text, 'manager'::text, 'auditor'::text, 'administrator'::text, 'switch'::text]))),
    CONSTRAINT users_status_check CHECK ((status = ANY (ARRAY['active'::text, 'disabled'::text]))),
    CONSTRAINT users_token_hash_check CHECK ((length(token_hash) = 32))
);

COMMENT ON TABLE access.users IS 'People and switches; a user is disabled, never deleted';

COMMENT ON COLUMN access.users.email IS 'How to reach whoever set a lock (§2.2)';

COMMENT ON COLUMN access.users.password_hash IS 'argon2id, with its parameters; null: none was set yet, nobody can sign in';

COMMENT ON COLUMN access.users.token_hash IS 'Of the one-time token that sets a password; null: none is out';

CREATE TABLE books.accounts (
    ledger_id integer NOT NULL,
    kind text NOT NULL COLLATE pg_catalog."C",
    owner text NOT NULL COLLATE pg_catalog."C"
);

COMMENT ON TABLE books.accounts IS 'The chart of accounts: kind says what it is (client, cash, revenue, …), owner whose (an account, a service, a provider; empty where there is one only).';

ALTER TABLE books.accounts ALTER COLUMN ledger_id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME books.accounts_ledger_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE books.rerating_accounts (
    rerating_id bigint NOT NULL,
    account_id text NOT NULL COLLATE pg_catalog."C",
    place integer NOT NULL,
    items integer NOT NULL,
    old_retail_micros bigint NOT NULL,
    new_retail_micros bigint NOT NULL,
    old_wholesale_micros bigint NOT NULL,
    new_wholesale_micros bigint NOT NULL,
    state text DEFAULT 'previewed'::text NOT NULL,
    posted_seq bigint,
    posted_at timestamp with time zone,
    command_id office.id,
    tries integer DEFAULT 0 NOT NULL,
    rolled_back_at timestamp with time zone,
    back_command_id office.id,
    CONSTRAINT rerating_accounts_check CHECK (((state = 'previewed'::text) = (posted_at IS NULL))),
    CONSTRAINT rerating_accounts_check1 CHECK (((posted_at IS NULL) = (posted_seq IS NULL))),
    CONSTRAINT rerating_accounts_check2 CHECK (((state = 'rolled_back'::text) = (rolled_back_at IS NOT NULL))),
    CONSTRAINT rerating_accounts_items_check CHECK ((items > 0)),
    CONSTRAINT rerating_accounts_place_check CHECK ((place > 0)),
    CONSTRAINT rerating_accounts_state_check CHECK ((state = ANY (ARRAY['previewed'::text, 'posted'::text, 'rolled_back'::text])))
);

COMMENT ON TABLE books.rerating_accounts IS 'What a run comes to for each account; an empty account_id: calls of nobody''s';

COMMENT ON COLUMN books.rerating_accounts.command_id IS 'The correction that the engine was ordered; null where the client''s side comes to nothing';

COMMENT ON COLUMN books.rerating_accounts.tries IS 'How often it was ordered: again after the engine had rejected it';

CREATE SEQUENCE books.rerating_posted
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;

CREATE TABLE books.rerating_postings (
    posting_id bigint NOT NULL,
    rerating_id bigint NOT NULL,
    account_id text NOT NULL COLLATE pg_catalog."C",
    back boolean NOT NULL,
    debit_kind text NOT NULL COLLATE pg_catalog."C",
    debit_owner text NOT NULL COLLATE pg_catalog."C",
    credit_kind text NOT NULL COLLATE pg_catalog."C",
    credit_owner text NOT NULL COLLATE pg_catalog."C",
    amount_micros bigint NOT NULL,
    at timestamp with time zone NOT NULL,
    day date NOT NULL,
    cause_id text NOT NULL COLLATE pg_catalog."C",
    CONSTRAINT rerating_postings_amount_micros_check CHECK ((amount_micros > 0)),
    CONSTRAINT rerating_postings_credit_kind_check CHECK ((credit_kind = ANY (ARRAY['correction'::text, 'revenue'::text, 'cost'::text, 'payable'::text]))),
    CONSTRAINT rerating_postings_debit_kind_check CHECK ((debit_kind = ANY (ARRAY['correction'::text, 'revenue'::text, 'cost'::text, 'payable'::text])))
);

COMMENT ON TABLE books.rerating_postings IS 'The side of revenue and cost: what passes between it and the clients goes through the engine. Each row is booked as it is written.';

ALTER TABLE books.rerating_postings ALTER COLUMN posting_id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME books.rerating_postings_posting_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE books.reratings (
    rerating_id bigint NOT NULL,
    since timestamp with time zone NOT NULL,
    until timestamp with time zone NOT NULL,
    account_id text COLLATE pg_catalog."C",
    prefix text COLLATE pg_catalog."C",
    price_list_id text COLLATE pg_catalog."C",
    reference_version bigint,
    plans text NOT NULL,
    reason text NOT NULL,
    created_at timestamp with time zone NOT NULL,
    created_by text NOT NULL,
    state text DEFAULT 'draft'::text NOT NULL,
    previewed_at timestamp with time zone,
    previewed_by text,
    approved_at timestamp with time zone,
    approved_by text,
    ordered_at timestamp with time zone,
    ordered_by text,
    posted_at timestamp with time zone,
    back_at timestamp with time zone,
    back_by text,
    rolled_back_at timestamp with time zone,
    cancelled_at timestamp with time zone,
    cancelled_by text,
    fingerprint bytea,
    summary jsonb,
    wanted text,
    wanted_by text,
    worker uuid,
    stage text DEFAULT ''::text NOT NULL,
    done bigint DEFAULT 0 NOT NULL,
    total bigint DEFAULT 0 NOT NULL,
    beat_at timestamp with time zone,
    failure text,
    CONSTRAINT approved_by_another CHECK (((approved_by <> created_by) AND (approved_by <> previewed_by))),
    CONSTRAINT reratings_check CHECK ((until > since)),
    CONSTRAINT reratings_check1 CHECK (((wanted IS NULL) = (wanted_by IS NULL))),
    CONSTRAINT reratings_check2 CHECK (((approved_at IS NULL) = (approved_by IS NULL))),
    CONSTRAINT reratings_check3 CHECK (((state = ANY (ARRAY['draft'::text, 'cancelled'::text])) OR ((fingerprint IS NOT NULL) AND (summary IS NOT NULL)))),
    CONSTRAINT reratings_check4 CHECK (((state = ANY (ARRAY['draft'::text, 'previewed'::text, 'cancelled'::text])) OR (approved_by IS NOT NULL))),
    CONSTRAINT reratings_created_by_check CHECK ((created_by <> ''::text)),
    CONSTRAINT reratings_fingerprint_check CHECK ((length(fingerprint) = 32)),
    CONSTRAINT reratings_plans_check CHECK ((plans = ANY (ARRAY['then'::text, 'by_tables'::text]))),
    CONSTRAINT reratings_prefix_check CHECK ((prefix ~ '^[0-9]{1,15}$'::text)),
    CONSTRAINT reratings_reason_check CHECK ((reason <> ''::text)),
    CONSTRAINT reratings_reference_version_check CHECK ((reference_version > 0)),
    CONSTRAINT reratings_state_check CHECK ((state = ANY (ARRAY['draft'::text, 'previewed'::text, 'approved'::text, 'posting'::text, 'posted'::text, 'rolling_back'::text, 'rolled_back'::text, 'cancelled'::text]))),
    CONSTRAINT reratings_wanted_check CHECK ((wanted = ANY (ARRAY['preview'::text, 'post'::text, 'roll_back'::text])))
);

COMMENT ON TABLE books.reratings IS 'Runs: which calls are rated again, by which prices, and what became of it';

COMMENT ON COLUMN books.reratings.since IS 'Calls that ended then or later, and before `until`';

COMMENT ON COLUMN books.reratings.price_list_id IS 'Calls that are or would be priced by it, on either side';

COMMENT ON COLUMN books.reratings.reference_version IS 'Whose prices; null: of the tables in force when it is previewed';

COMMENT ON COLUMN books.reratings.plans IS 'Whether an account counts with its plan and place of the call''s set-up, or with those of the tables';

COMMENT ON COLUMN books.reratings.fingerprint IS 'SHA-256 over the calls of its items and what they were charged when it was previewed';

COMMENT ON COLUMN books.reratings.wanted IS 'Work that is ordered and not done; `worker` does it, heard of last at `beat_at`';

ALTER TABLE books.reratings ALTER COLUMN rerating_id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME books.reratings_rerating_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE books.transfers (
    day date NOT NULL,
    source_partition integer NOT NULL,
    source_offset bigint NOT NULL,
    amount_micros bigint NOT NULL,
    balance_after_micros bigint,
    recorded_at timestamp with time zone NOT NULL,
    debit integer NOT NULL,
    credit integer NOT NULL,
    cause text NOT NULL COLLATE pg_catalog."C",
    cause_id text NOT NULL COLLATE pg_catalog."C",
    account_id text COLLATE pg_catalog."C",
    CONSTRAINT transfers_amount_micros_check CHECK ((amount_micros > 0)),
    CONSTRAINT transfers_check CHECK ((credit <> debit)),
    CONSTRAINT transfers_check1 CHECK (((account_id IS NULL) = (balance_after_micros IS NULL)))
)
PARTITION BY RANGE (day);

COMMENT ON TABLE books.transfers IS 'An amount from the ledger''s account `debit` to `credit`, with its cause. `day` is the operator''s business day of the call''s end or of the command; recorded_at is when the engine booked it.';

COMMENT ON COLUMN books.transfers.source_partition IS 'Of the record that it comes from; -1: of the office''s own, a row of books.rerating_postings (source_offset)';

COMMENT ON COLUMN books.transfers.account_id IS 'The client''s account that is moved, with its balance afterwards; null for the wholesale cost of a call.';

CREATE TABLE facts.attempts (
    at timestamp with time zone NOT NULL,
    recorded_at timestamp with time zone NOT NULL,
    source_offset bigint NOT NULL,
    source_partition integer NOT NULL,
    requested_seconds integer,
    used_seconds integer,
    kind text NOT NULL COLLATE pg_catalog."C",
    attempt_id text NOT NULL COLLATE pg_catalog."C",
    switch_id text NOT NULL COLLATE pg_catalog."C",
    account_id text COLLATE pg_catalog."C",
    service text COLLATE pg_catalog."C",
    caller text COLLATE pg_catalog."C",
    called text COLLATE pg_catalog."C",
    place text COLLATE pg_catalog."C",
    incoming_service text COLLATE pg_catalog."C",
    cause text COLLATE pg_catalog."C",
    record bytea NOT NULL
)
PARTITION BY RANGE (at);

COMMENT ON TABLE facts.attempts IS 'call-attempts as they came: attempts, extensions, releases; what could not be read is in facts.rejected alone. An attempt sent twice is here twice, and so is one that came to a wrong partition first.';

CREATE TABLE facts.balances (
    account_id text NOT NULL COLLATE pg_catalog."C",
    at timestamp with time zone NOT NULL,
    recorded_at timestamp with time zone NOT NULL,
    source_partition integer NOT NULL,
    source_offset bigint NOT NULL,
    balance_micros bigint NOT NULL,
    held_micros bigint NOT NULL,
    credit_limit_micros bigint NOT NULL,
    available_micros bigint NOT NULL,
    running_calls integer NOT NULL,
    currency text NOT NULL COLLATE pg_catalog."C",
    status text NOT NULL COLLATE pg_catalog."C"
)
WITH (fillfactor='60');

COMMENT ON TABLE facts.balances IS 'The latest that the engine said of each account''s money.';

CREATE TABLE facts.decisions (
    at timestamp with time zone NOT NULL,
    recorded_at timestamp with time zone NOT NULL,
    source_offset bigint NOT NULL,
    copy bigint DEFAULT 0 NOT NULL,
    hold_micros bigint NOT NULL,
    reference_version bigint NOT NULL,
    source_partition integer NOT NULL,
    extension integer NOT NULL,
    max_seconds integer NOT NULL,
    allow boolean NOT NULL,
    repeated boolean NOT NULL,
    emergency boolean NOT NULL,
    negative_margin boolean NOT NULL,
    attempt_id text NOT NULL COLLATE pg_catalog."C",
    switch_id text NOT NULL COLLATE pg_catalog."C",
    account_id text COLLATE pg_catalog."C",
    reason text COLLATE pg_catalog."C",
    lock_id text COLLATE pg_catalog."C",
    record bytea NOT NULL
)
PARTITION BY RANGE (at);

COMMENT ON TABLE facts.decisions IS 'Answers to attempts (extension 0) and to extensions; `record` is the very text that the switch was told.';

CREATE TABLE facts.gaps (
    topic text NOT NULL COLLATE pg_catalog."C",
    partition integer NOT NULL,
    from_offset bigint NOT NULL,
    to_offset bigint NOT NULL,
    found_at timestamp with time zone DEFAULT now() NOT NULL
);

COMMENT ON TABLE facts.gaps IS 'Offsets that the broker had deleted before they were taken in; to_offset is exclusive.';

CREATE TABLE facts.known (
    one boolean DEFAULT true NOT NULL,
    until timestamp with time zone NOT NULL,
    seen_at timestamp with time zone NOT NULL,
    CONSTRAINT known_one_check CHECK (one)
);

COMMENT ON TABLE facts.known IS 'Up to when all calls were worked off by the engine and their counters projected';

COMMENT ON COLUMN facts.known.until IS 'A moment of the business clock';

CREATE TABLE facts.movements (
    source_partition integer NOT NULL,
    source_offset bigint NOT NULL,
    copy bigint DEFAULT 0 NOT NULL,
    at timestamp with time zone NOT NULL,
    recorded_at timestamp with time zone NOT NULL,
    amount_micros bigint NOT NULL,
    balance_after_micros bigint NOT NULL,
    kind text NOT NULL COLLATE pg_catalog."C",
    account_id text NOT NULL COLLATE pg_catalog."C",
    cause_id text NOT NULL COLLATE pg_catalog."C",
    currency text NOT NULL COLLATE pg_catalog."C",
    status text NOT NULL COLLATE pg_catalog."C",
    reference text,
    reason text,
    record bytea NOT NULL
);

COMMENT ON TABLE facts.movements IS 'What moved an account''s money or status, apart from calls; cause_id is the command''s, of an opening the account''s.';

CREATE TABLE facts.ncv (
    number text NOT NULL COLLATE pg_catalog."C",
    day date NOT NULL,
    calls integer NOT NULL,
    unique_callers integer NOT NULL,
    first_at timestamp with time zone NOT NULL,
    last_at timestamp with time zone NOT NULL,
    source_partition integer NOT NULL,
    source_offset bigint NOT NULL
)
WITH (fillfactor='80');

COMMENT ON TABLE facts.ncv IS 'Unwanted calls by number and civil day of the operator (§1.4).';

CREATE TABLE facts.notices (
    source_partition integer NOT NULL,
    source_offset bigint NOT NULL,
    at timestamp with time zone NOT NULL,
    recorded_at timestamp with time zone NOT NULL,
    kind text NOT NULL COLLATE pg_catalog."C",
    account_id text NOT NULL COLLATE pg_catalog."C",
    balance_micros bigint NOT NULL,
    limit_micros bigint NOT NULL
);

COMMENT ON TABLE facts.notices IS 'What somebody should be told of an account (§2.4).';

CREATE TABLE facts.offsets (
    topic text NOT NULL COLLATE pg_catalog."C",
    partition integer NOT NULL,
    next_offset bigint NOT NULL,
    record_at timestamp with time zone,
    projected_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT offsets_next_offset_check CHECK ((next_offset >= 0))
)
WITH (fillfactor='50');

COMMENT ON TABLE facts.offsets IS 'Up to which record each partition of each topic is in the tables. Moved in the same transaction as the rows.';

COMMENT ON COLUMN facts.offsets.record_at IS 'The broker''s time of the last record taken in.';

CREATE TABLE facts.rated_cdrs (
    ended_at timestamp with time zone NOT NULL,
    started_at timestamp with time zone NOT NULL,
    answered_at timestamp with time zone,
    recorded_at timestamp with time zone NOT NULL,
    source_offset bigint NOT NULL,
    copy bigint DEFAULT 0 NOT NULL,
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
    cdr_id text NOT NULL COLLATE pg_catalog."C",
    attempt_id text COLLATE pg_catalog."C",
    switch_id text NOT NULL COLLATE pg_catalog."C",
    account_id text COLLATE pg_catalog."C",
    service text NOT NULL COLLATE pg_catalog."C",
    caller text COLLATE pg_catalog."C",
    called text NOT NULL COLLATE pg_catalog."C",
    place text COLLATE pg_catalog."C",
    incoming_service text COLLATE pg_catalog."C",
    provider_id text COLLATE pg_catalog."C",
    cause text COLLATE pg_catalog."C",
    retail_list_id text COLLATE pg_catalog."C",
    retail_prefix text COLLATE pg_catalog."C",
    wholesale_list_id text COLLATE pg_catalog."C",
    wholesale_prefix text COLLATE pg_catalog."C",
    record bytea NOT NULL
)
PARTITION BY RANGE (ended_at);

COMMENT ON TABLE facts.rated_cdrs IS 'Finished calls with what they cost; `record` has the charges in all their parts.';

CREATE TABLE facts.rejected (
    source_partition integer NOT NULL,
    source_offset bigint NOT NULL,
    recorded_at timestamp with time zone NOT NULL,
    at timestamp with time zone,
    topic text NOT NULL COLLATE pg_catalog."C",
    partition integer NOT NULL,
    topic_offset bigint NOT NULL,
    reason text NOT NULL COLLATE pg_catalog."C",
    detail text NOT NULL,
    event_id text COLLATE pg_catalog."C",
    account_id text COLLATE pg_catalog."C",
    payload bytea NOT NULL,
    resubmitted_at timestamp with time zone,
    resubmitted_by text,
    set_aside_at timestamp with time zone,
    set_aside_by text,
    set_aside_why text,
    CONSTRAINT resubmitted_by_somebody CHECK (((resubmitted_at IS NULL) = (resubmitted_by IS NULL))),
    CONSTRAINT set_aside_by_somebody CHECK ((((set_aside_at IS NULL) = (set_aside_by IS NULL)) AND ((set_aside_at IS NULL) = (set_aside_why IS NULL))))
);

COMMENT ON TABLE facts.rejected IS 'Events that could not be used: where they stand (topic, partition, topic_offset), why, and their bytes. event_id and account_id are what could be read of them.';

COMMENT ON COLUMN facts.rejected.resubmitted_at IS 'When it was submitted again, the last time; null: never';

COMMENT ON COLUMN facts.rejected.set_aside_at IS 'When somebody said that it is not to be submitted again; null: nobody did';

CREATE TABLE facts.unprojected (
    topic text NOT NULL COLLATE pg_catalog."C",
    partition integer NOT NULL,
    source_offset bigint NOT NULL,
    key bytea,
    value bytea,
    recorded_at timestamp with time zone NOT NULL,
    why text NOT NULL,
    found_at timestamp with time zone DEFAULT now() NOT NULL
);

COMMENT ON TABLE facts.unprojected IS 'Records that could not be made rows of: their bytes, and why. They leave when they are projected after all.';

CREATE TABLE office.account_blocks (
    block_id bigint NOT NULL,
    account_id office.id NOT NULL,
    blocked_at timestamp with time zone NOT NULL,
    blocked_by text NOT NULL,
    reason office.words NOT NULL,
    block_command_id office.id,
    unblocked_at timestamp with time zone,
    unblocked_by text,
    unblock_reason office.words,
    unblock_command_id office.id,
    CONSTRAINT account_blocks_check CHECK ((unblocked_at >= blocked_at)),
    CONSTRAINT account_blocks_check1 CHECK (((unblocked_at IS NULL) = (unblocked_by IS NULL)))
);

COMMENT ON TABLE office.account_blocks IS 'When and why accounts were blocked; the last one''s date and reason stay to be seen (§3.3)';

COMMENT ON COLUMN office.account_blocks.block_command_id IS 'Null: it was blocked when it was taken into the record';

ALTER TABLE office.account_blocks ALTER COLUMN block_id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME office.account_blocks_block_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE office.account_services (
    account_id office.id NOT NULL,
    service office.id NOT NULL,
    product office.words,
    connected_at timestamp with time zone NOT NULL,
    connected_by text NOT NULL,
    disconnected_at timestamp with time zone,
    disconnected_by text,
    CONSTRAINT account_services_check CHECK ((disconnected_at > connected_at)),
    CONSTRAINT account_services_check1 CHECK (((disconnected_at IS NULL) = (disconnected_by IS NULL)))
);

COMMENT ON TABLE office.account_services IS 'Products on an account and the services that they bring (§2.5, §3.3)';

COMMENT ON COLUMN office.account_services.service IS 'As events name it: outgoing, calls_rec, calls_rec_unlim, …';

CREATE TABLE office.account_tags (
    account_id office.id NOT NULL,
    tag office.id NOT NULL,
    since timestamp with time zone NOT NULL,
    author text NOT NULL
);

CREATE TABLE office.accounts (
    account_id office.id NOT NULL,
    client_id office.id NOT NULL,
    tariff_plan_id office.id NOT NULL,
    payment_mode text NOT NULL,
    currency office.currency NOT NULL,
    opening_balance_micros bigint DEFAULT 0 NOT NULL,
    opening_status text NOT NULL,
    credit_limit_micros bigint DEFAULT 0 NOT NULL,
    critical_balance_micros bigint,
    place office.id,
    max_concurrent_calls integer,
    status text NOT NULL,
    manager text,
    comment text,
    created_at timestamp with time zone NOT NULL,
    created_by text NOT NULL,
    mention_words text[] GENERATED ALWAYS AS (office.words_of_all(ARRAY[(account_id)::text, (place)::text, manager, comment])) STORED COLLATE pg_catalog."C",
    CONSTRAINT accounts_credit_limit_micros_check CHECK ((credit_limit_micros >= 0)),
    CONSTRAINT accounts_max_concurrent_calls_check CHECK ((max_concurrent_calls > 0)),
    CONSTRAINT accounts_opening_status_check CHECK ((opening_status = ANY (ARRAY['active'::text, 'blocked'::text, 'closed'::text]))),
    CONSTRAINT accounts_payment_mode_check CHECK ((payment_mode = ANY (ARRAY['prepaid'::text, 'postpaid'::text]))),
    CONSTRAINT accounts_status_check CHECK ((status = ANY (ARRAY['active'::text, 'blocked'::text, 'closed'::text])))
);

COMMENT ON TABLE office.accounts IS 'Personal accounts; they are closed, never removed';

COMMENT ON COLUMN office.accounts.opening_balance_micros IS 'The balance that it began with; commands and calls move it afterwards, in the engine';

COMMENT ON COLUMN office.accounts.opening_status IS 'The status that it began with';

COMMENT ON COLUMN office.accounts.critical_balance_micros IS 'At or below it a notice goes out (§2.4); null: none';

COMMENT ON COLUMN office.accounts.status IS 'As the office ordered it; the engine''s word is in facts';

COMMENT ON COLUMN office.accounts.manager IS 'Who is responsible; null: the client''s manager';

COMMENT ON COLUMN office.accounts.mention_words IS 'Words of what the office has written of the account (§3.3)';

CREATE TABLE office.bands (
    band_id office.id NOT NULL,
    weekdays smallint[] DEFAULT '{}'::smallint[] NOT NULL,
    start_minute smallint DEFAULT 0 NOT NULL,
    end_minute smallint DEFAULT 1440 NOT NULL,
    dates text[] DEFAULT '{}'::text[] NOT NULL COLLATE pg_catalog."C",
    time_zone text NOT NULL,
    weight integer DEFAULT 0 NOT NULL,
    removed_at timestamp with time zone,
    CONSTRAINT bands_end_minute_check CHECK (((end_minute >= 0) AND (end_minute <= 1440))),
    CONSTRAINT bands_start_minute_check CHECK (((start_minute >= 0) AND (start_minute <= 1439))),
    CONSTRAINT bands_weekdays_check CHECK ((weekdays <@ '{1,2,3,4,5,6,7}'::smallint[]))
);

COMMENT ON TABLE office.bands IS 'Parts of the week or of chosen dates that prices are limited to';

COMMENT ON COLUMN office.bands.weekdays IS '1 is Monday; empty: any';

COMMENT ON COLUMN office.bands.dates IS 'YYYY-MM-DD, or every year --MM-DD; empty: any';

CREATE TABLE office.business_clock (
    one boolean DEFAULT true NOT NULL,
    mode text NOT NULL,
    offset_us bigint,
    stopped_at timestamp with time zone,
    set_at timestamp with time zone NOT NULL,
    set_by text NOT NULL,
    CONSTRAINT business_clock_check CHECK (((mode = 'shifted'::text) = (offset_us IS NOT NULL))),
    CONSTRAINT business_clock_check1 CHECK (((mode = 'stopped'::text) = (stopped_at IS NOT NULL))),
    CONSTRAINT business_clock_mode_check CHECK ((mode = ANY (ARRAY['real'::text, 'shifted'::text, 'stopped'::text]))),
    CONSTRAINT business_clock_one_check CHECK (one)
);

COMMENT ON TABLE office.business_clock IS 'What time it is for the office, where the settings allow to set it; no row: the real time';

COMMENT ON COLUMN office.business_clock.offset_us IS 'How far it is ahead of the real time, in microseconds';

CREATE TABLE office.calendar (
    day date NOT NULL,
    kind text NOT NULL,
    name office.words,
    CONSTRAINT calendar_kind_check CHECK ((kind = ANY (ARRAY['working'::text, 'shortened'::text, 'day_off'::text])))
);

COMMENT ON TABLE office.calendar IS 'The production calendar: days that are not what their weekday says';

CREATE TABLE office.calendar_loaded (
    one boolean DEFAULT true NOT NULL,
    days datemultirange NOT NULL,
    CONSTRAINT calendar_loaded_one_check CHECK (one)
);

COMMENT ON TABLE office.calendar_loaded IS 'The periods that a production calendar was loaded for';

CREATE TABLE office.client_tags (
    client_id office.id NOT NULL,
    tag office.id NOT NULL,
    since timestamp with time zone NOT NULL,
    author text NOT NULL
);

CREATE TABLE office.clients (
    client_id office.id NOT NULL,
    kind text,
    name office.words NOT NULL,
    surname text,
    given_name text,
    patronymic text,
    city text,
    inn text COLLATE pg_catalog."C",
    kpp text COLLATE pg_catalog."C",
    legal_address text,
    phones text[] DEFAULT '{}'::text[] NOT NULL COLLATE pg_catalog."C",
    emails text[] DEFAULT '{}'::text[] NOT NULL,
    manager text,
    seller text,
    region text,
    comment text,
    created_at timestamp with time zone NOT NULL,
    created_by text NOT NULL,
    search_words text[] DEFAULT '{}'::text[] NOT NULL COLLATE pg_catalog."C",
    mention_words text[] GENERATED ALWAYS AS (office.words_of_all(((ARRAY[(client_id)::text, (name)::text, surname, given_name, patronymic, city, inn, kpp, legal_address, manager, seller, region, comment] || phones) || emails))) STORED COLLATE pg_catalog."C",
    CONSTRAINT clients_inn_check CHECK ((inn ~ '^([0-9]{10}|[0-9]{12})$'::text)),
    CONSTRAINT clients_kind_check CHECK ((kind = ANY (ARRAY['company'::text, 'entrepreneur'::text, 'person'::text]))),
    CONSTRAINT clients_kpp_check CHECK ((kpp ~ '^[0-9]{9}$'::text))
);

COMMENT ON TABLE office.clients IS 'Counterparties: companies and people (§1.1)';

COMMENT ON COLUMN office.clients.kind IS 'Null: nothing is known of them but their accounts';

COMMENT ON COLUMN office.clients.name IS 'The organisation''s name, or the full name; the id where nothing else is known';

COMMENT ON COLUMN office.clients.city IS 'Tells namesakes apart, with given name and patronymic (§1.1)';

COMMENT ON COLUMN office.clients.phones IS 'To reach them by; the numbers that they use are in office.numbers';

COMMENT ON COLUMN office.clients.manager IS 'Who is responsible (§3.3)';

COMMENT ON COLUMN office.clients.seller IS 'The agent who brought them';

COMMENT ON COLUMN office.clients.search_words IS 'Words of the name and of a person''s names as they are searched, in their order (§1.1, D47)';

COMMENT ON COLUMN office.clients.mention_words IS 'Words of all that is known of the client (§3.3)';

CREATE VIEW office.colleagues AS
 SELECT name,
    full_name,
    role,
    email,
    phone,
    status
   FROM access.users;

COMMENT ON VIEW office.colleagues IS 'Users as their colleagues see them: whom to ask, and how';

CREATE TABLE office.commands (
    command_id office.id NOT NULL,
    kind text NOT NULL,
    account_id office.id NOT NULL,
    at timestamp with time zone NOT NULL,
    amount_micros bigint,
    reference office.words,
    source text,
    reason office.words,
    reverses office.id,
    author text NOT NULL,
    ordered_at timestamp with time zone NOT NULL,
    state text DEFAULT 'ordered'::text NOT NULL,
    state_at timestamp with time zone,
    rejected_why text,
    CONSTRAINT commands_check CHECK (((state = 'ordered'::text) = (state_at IS NULL))),
    CONSTRAINT commands_check1 CHECK (((state = 'rejected'::text) = (rejected_why IS NOT NULL))),
    CONSTRAINT commands_kind_check CHECK ((kind = ANY (ARRAY['payment'::text, 'top_up'::text, 'write_off'::text, 'correction'::text, 'block'::text, 'unblock'::text, 'close'::text]))),
    CONSTRAINT commands_state_check CHECK ((state = ANY (ARRAY['ordered'::text, 'applied'::text, 'rejected'::text]))),
    CONSTRAINT money_has_its_amount CHECK ((((kind = ANY (ARRAY['payment'::text, 'top_up'::text, 'write_off'::text, 'correction'::text])) = (amount_micros IS NOT NULL)) AND (amount_micros <> 0)))
);

COMMENT ON TABLE office.commands IS 'What the office ordered for accounts: payments, top-ups, write-offs, blocks; payments and top-ups are different things (D46)';

COMMENT ON COLUMN office.commands.at IS 'Booking time';

COMMENT ON COLUMN office.commands.source IS 'Of a payment: bank, paymaster, …';

COMMENT ON COLUMN office.commands.reverses IS 'Which command it takes back';

COMMENT ON COLUMN office.commands.state IS 'As known here; the engine has the last word';

CREATE TABLE office.direct_managers (
    user_name access.user_name NOT NULL,
    manager access.user_name NOT NULL,
    CONSTRAINT direct_managers_check CHECK (((manager)::text <> (user_name)::text))
);

COMMENT ON TABLE office.direct_managers IS 'Who answers the requests of a colleague in customer service';

CREATE TABLE office.discounts (
    discount_id bigint NOT NULL,
    account_id office.id NOT NULL,
    service office.id,
    percent_micros integer NOT NULL,
    valid_from timestamp with time zone,
    valid_to timestamp with time zone,
    CONSTRAINT discounts_check CHECK ((valid_to > valid_from)),
    CONSTRAINT discounts_percent_micros_check CHECK (((percent_micros >= 0) AND (percent_micros <= 100000000)))
);

COMMENT ON TABLE office.discounts IS 'Per cent off an account''s charges for a service (null: all); those of one service do not overlap';

COMMENT ON COLUMN office.discounts.percent_micros IS 'Millionths of a per cent';

ALTER TABLE office.discounts ALTER COLUMN discount_id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME office.discounts_discount_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE office.letter_attachments (
    letter_id bigint NOT NULL,
    place smallint NOT NULL,
    name office.words NOT NULL,
    media_type text NOT NULL,
    content bytea NOT NULL,
    CONSTRAINT letter_attachments_place_check CHECK ((place > 0))
);

COMMENT ON TABLE office.letter_attachments IS 'Files that went with a letter';

CREATE TABLE office.letters (
    letter_id bigint NOT NULL,
    kind text NOT NULL COLLATE pg_catalog."C",
    once_key text NOT NULL COLLATE pg_catalog."C",
    client_id office.id,
    account_id office.id,
    recipient office.words NOT NULL,
    copies text[] DEFAULT '{}'::text[] NOT NULL,
    subject office.words NOT NULL,
    body text NOT NULL,
    written_at timestamp with time zone NOT NULL,
    state text DEFAULT 'waiting'::text NOT NULL,
    state_at timestamp with time zone,
    failed_why text,
    CONSTRAINT letters_check CHECK (((state = 'waiting'::text) = (state_at IS NULL))),
    CONSTRAINT letters_check1 CHECK (((state = 'failed'::text) = (failed_why IS NOT NULL))),
    CONSTRAINT letters_kind_check CHECK ((kind <> ''::text)),
    CONSTRAINT letters_state_check CHECK ((state = ANY (ARRAY['waiting'::text, 'sent'::text, 'failed'::text])))
);

COMMENT ON TABLE office.letters IS 'Letters to clients and colleagues, as they were written';

COMMENT ON COLUMN office.letters.kind IS 'critical_balance, activation, liquidation, …';

COMMENT ON COLUMN office.letters.once_key IS 'What the letter is about, so that it is written once however often its job runs';

COMMENT ON COLUMN office.letters.written_at IS 'By the business clock';

ALTER TABLE office.letters ALTER COLUMN letter_id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME office.letters_letter_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE office.lock_history (
    lock_id office.id NOT NULL,
    revision integer NOT NULL,
    action text NOT NULL,
    at timestamp with time zone NOT NULL,
    actor text NOT NULL,
    acted_as text,
    why text NOT NULL,
    kind text NOT NULL,
    digits text NOT NULL COLLATE pg_catalog."C",
    account_id office.id,
    provider_id office.id,
    author text NOT NULL,
    reason text NOT NULL,
    created_at timestamp with time zone NOT NULL,
    ends_at timestamp with time zone,
    lifted_at timestamp with time zone,
    CONSTRAINT lock_history_action_check CHECK ((action = ANY (ARRAY['set'::text, 'changed'::text, 'lifted'::text])))
);

COMMENT ON TABLE office.lock_history IS '«История записи» of locks: each change with the lock as it was then; written by the database, for ever';

COMMENT ON COLUMN office.lock_history.acted_as IS 'In which role';

CREATE TABLE office.ncv_days (
    day date NOT NULL,
    closed_at timestamp with time zone NOT NULL,
    closed_by text NOT NULL,
    why office.words NOT NULL,
    called_numbers integer NOT NULL,
    calls bigint NOT NULL,
    CONSTRAINT ncv_days_called_numbers_check CHECK ((called_numbers >= 0)),
    CONSTRAINT ncv_days_calls_check CHECK ((calls >= 0))
);

COMMENT ON TABLE office.ncv_days IS 'Days that are over and of which all is known: a number without a row in facts.ncv had no call then. A day that is missing here is a gap, not silence (D6)';

CREATE TABLE office.nightly_orders (
    order_id bigint NOT NULL,
    day date NOT NULL,
    jobs text[] NOT NULL COLLATE pg_catalog."C",
    state text DEFAULT 'waiting'::text NOT NULL,
    ordered_at timestamp with time zone NOT NULL,
    ordered_by text NOT NULL,
    reason office.words NOT NULL,
    ended_at timestamp with time zone,
    outcome text,
    CONSTRAINT nightly_orders_check CHECK (((state = 'waiting'::text) = (ended_at IS NULL))),
    CONSTRAINT nightly_orders_state_check CHECK ((state = ANY (ARRAY['waiting'::text, 'done'::text, 'failed'::text])))
);

COMMENT ON TABLE office.nightly_orders IS 'Nights that somebody has asked for by the API; a process that runs jobs works them off';

COMMENT ON COLUMN office.nightly_orders.jobs IS 'Empty: all';

COMMENT ON COLUMN office.nightly_orders.outcome IS 'In a line; what each job did stands in its run';

ALTER TABLE office.nightly_orders ALTER COLUMN order_id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME office.nightly_orders_order_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE office.nightly_runs (
    day date NOT NULL,
    job text NOT NULL COLLATE pg_catalog."C",
    state text NOT NULL,
    attempt integer NOT NULL,
    steps integer DEFAULT 0 NOT NULL,
    place jsonb,
    report jsonb NOT NULL,
    error text,
    started_at timestamp with time zone NOT NULL,
    stepped_at timestamp with time zone NOT NULL,
    ended_at timestamp with time zone,
    started_by text NOT NULL,
    host text NOT NULL,
    process integer NOT NULL,
    CONSTRAINT nightly_runs_attempt_check CHECK ((attempt > 0)),
    CONSTRAINT nightly_runs_check CHECK (((state = 'running'::text) = (ended_at IS NULL))),
    CONSTRAINT nightly_runs_check1 CHECK (((state = ANY (ARRAY['failed'::text, 'blocked'::text])) = (error IS NOT NULL))),
    CONSTRAINT nightly_runs_job_check CHECK ((job ~ '^[a-z][a-z0-9_]{0,31}$'::text)),
    CONSTRAINT nightly_runs_state_check CHECK ((state = ANY (ARRAY['running'::text, 'done'::text, 'failed'::text, 'blocked'::text]))),
    CONSTRAINT nightly_runs_steps_check CHECK ((steps >= 0))
);

COMMENT ON TABLE office.nightly_runs IS 'Jobs of the night: each has one row for a night, however often it is tried';

COMMENT ON COLUMN office.nightly_runs.day IS 'The business day that begins with the night';

COMMENT ON COLUMN office.nightly_runs.attempt IS 'How often it was begun. Who comes back from the dead finds another number, and does nothing';

COMMENT ON COLUMN office.nightly_runs.place IS 'Where the next step begins; null: at the beginning, or nowhere when it is done';

COMMENT ON COLUMN office.nightly_runs.report IS 'counts, notes, notes_left_out';

COMMENT ON COLUMN office.nightly_runs.started_at IS 'Of this attempt; by the machine''s clock, as the other moments are';

COMMENT ON COLUMN office.nightly_runs.stepped_at IS 'When the last step was committed';

CREATE TABLE office.number_groups (
    group_name text NOT NULL,
    member access.user_name NOT NULL,
    CONSTRAINT number_groups_group_name_check CHECK ((group_name = ANY (ARRAY['assistants'::text, 'keepers'::text, 'heads'::text])))
);

COMMENT ON TABLE office.number_groups IS 'Who answers requests of the sales department: assistants, keepers of other providers'' numbers; and who gets copies';

CREATE TABLE office.number_history (
    number office.digits NOT NULL,
    revision integer NOT NULL,
    at timestamp with time zone NOT NULL,
    actor text NOT NULL,
    why text NOT NULL,
    status text NOT NULL,
    account_id office.id,
    place text,
    region text,
    provider_id office.id,
    fmtn boolean NOT NULL,
    joined_on date,
    archived_on date,
    saleable text NOT NULL,
    removed_at timestamp with time zone
);

COMMENT ON TABLE office.number_history IS 'Each state of a number, from its entry on; written by the database, for ever';

CREATE TABLE office.number_requests (
    request_id text NOT NULL COLLATE pg_catalog."C",
    number office.digits NOT NULL,
    state text NOT NULL,
    department text NOT NULL,
    desk text NOT NULL,
    asked_at timestamp with time zone NOT NULL,
    asked_on date NOT NULL,
    asked_by text NOT NULL,
    reason office.words NOT NULL,
    calls bigint NOT NULL,
    unique_callers integer NOT NULL,
    criterion text NOT NULL,
    client_id office.id,
    copy_to text,
    told_callers integer,
    consent jsonb,
    decided_at timestamp with time zone,
    decided_by text,
    decision office.words,
    decided_callers integer,
    ended_at timestamp with time zone,
    CONSTRAINT nobody_approves_his_own CHECK (((state <> 'approved'::text) OR (decided_by <> asked_by))),
    CONSTRAINT number_requests_calls_check CHECK ((calls >= 0)),
    CONSTRAINT number_requests_consent CHECK (((consent IS NULL) OR (told_callers IS NOT NULL))),
    CONSTRAINT number_requests_criterion_check CHECK ((criterion = ANY (ARRAY['depends_on_ncv'::text, 'no'::text]))),
    CONSTRAINT number_requests_decided CHECK (((state = ANY (ARRAY['waiting_for_client'::text, 'waiting'::text])) = (decided_at IS NULL))),
    CONSTRAINT number_requests_department_check CHECK ((department = ANY (ARRAY['sales'::text, 'customer_service'::text]))),
    CONSTRAINT number_requests_desk_check CHECK ((desk = ANY (ARRAY['assistants'::text, 'keepers'::text, 'direct_manager'::text]))),
    CONSTRAINT number_requests_ended CHECK (((ended_at IS NULL) OR (state = 'approved'::text))),
    CONSTRAINT number_requests_said_by CHECK (((decided_at IS NULL) = (decided_by IS NULL))),
    CONSTRAINT number_requests_state_check CHECK ((state = ANY (ARRAY['waiting_for_client'::text, 'waiting'::text, 'approved'::text, 'refused'::text, 'withdrawn'::text]))),
    CONSTRAINT number_requests_unique_callers_check CHECK ((unique_callers >= 0))
);

COMMENT ON TABLE office.number_requests IS 'Requests to release numbers for sale that the rules would not let be sold (§1.4)';

COMMENT ON COLUMN office.number_requests.told_callers IS 'How many unique callers the letter to the client named';

COMMENT ON COLUMN office.number_requests.ended_at IS 'Until when the approval held; null: it holds, or never did';

CREATE TABLE office.numbers (
    number office.digits NOT NULL,
    status text NOT NULL,
    account_id office.id,
    place office.id,
    region text,
    provider_id office.id,
    fmtn boolean DEFAULT false NOT NULL,
    joined_on date,
    archived_on date,
    saleable text DEFAULT 'depends_on_ncv'::text NOT NULL,
    removed_at timestamp with time zone,
    revision integer DEFAULT 1 NOT NULL,
    changed_at timestamp with time zone NOT NULL,
    changed_by text NOT NULL,
    change_reason office.words NOT NULL,
    CONSTRAINT free_of_everyone CHECK (((status <> ALL (ARRAY['free'::text, 'archive'::text])) OR (account_id IS NULL))),
    CONSTRAINT in_use_by_someone CHECK (((status <> 'in_use'::text) OR (account_id IS NOT NULL))),
    CONSTRAINT numbers_revision_check CHECK ((revision > 0)),
    CONSTRAINT numbers_saleable_check CHECK ((saleable = ANY (ARRAY['depends_on_ncv'::text, 'forced_yes'::text, 'no'::text]))),
    CONSTRAINT numbers_status_check CHECK ((status = ANY (ARRAY['free'::text, 'reserved'::text, 'in_use'::text, 'archive'::text])))
);

COMMENT ON TABLE office.numbers IS 'DID numbers of the operator''s capacity';

COMMENT ON COLUMN office.numbers.fmtn IS 'Its unwanted calls do not count (§1.4)';

COMMENT ON COLUMN office.numbers.removed_at IS 'Since when it is not in the capacity any more';

CREATE VIEW office.payments WITH (security_invoker='true') AS
 SELECT command_id,
    account_id,
    at,
    amount_micros,
    reference,
    source,
    reason,
    reverses,
    author,
    ordered_at,
    state,
    state_at,
    rejected_why
   FROM office.commands
  WHERE (kind = 'payment'::text);

COMMENT ON VIEW office.payments IS 'Money that came in';

CREATE TABLE office.price_checks (
    check_id bigint NOT NULL,
    version_id bigint NOT NULL,
    kind text NOT NULL,
    at timestamp with time zone NOT NULL,
    asked_at timestamp with time zone NOT NULL,
    asked_by text NOT NULL,
    parameters jsonb DEFAULT '{}'::jsonb NOT NULL,
    state text DEFAULT 'running'::text NOT NULL,
    stage text DEFAULT ''::text NOT NULL,
    done bigint DEFAULT 0 NOT NULL,
    total bigint DEFAULT 0 NOT NULL,
    beat_at timestamp with time zone DEFAULT now() NOT NULL,
    ended_at timestamp with time zone,
    result jsonb,
    failure text,
    CONSTRAINT price_checks_check CHECK (((state = 'running'::text) = (ended_at IS NULL))),
    CONSTRAINT price_checks_check1 CHECK (((state = 'done'::text) = (result IS NOT NULL))),
    CONSTRAINT price_checks_check2 CHECK (((state = 'failed'::text) = (failure IS NOT NULL))),
    CONSTRAINT price_checks_kind_check CHECK ((kind = ANY (ARRAY['lint'::text, 'rehearsal'::text]))),
    CONSTRAINT price_checks_state_check CHECK ((state = ANY (ARRAY['running'::text, 'done'::text, 'failed'::text])))
);

COMMENT ON TABLE office.price_checks IS 'Looks at a version before it is published: lint, and rehearsals on past calls';

COMMENT ON COLUMN office.price_checks.at IS 'The moment that it was looked at for: when the version is to come into force';

COMMENT ON COLUMN office.price_checks.asked_at IS 'By the machine''s clock, as ended_at';

COMMENT ON COLUMN office.price_checks.stage IS 'What is being done, in words';

COMMENT ON COLUMN office.price_checks.beat_at IS 'When the process that works on it was last heard of, by its own clock';

ALTER TABLE office.price_checks ALTER COLUMN check_id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME office.price_checks_check_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE office.price_findings (
    check_id bigint NOT NULL,
    place integer NOT NULL,
    rule text NOT NULL COLLATE pg_catalog."C",
    severity text NOT NULL COLLATE pg_catalog."C",
    prefix text NOT NULL COLLATE pg_catalog."C",
    prefixes integer NOT NULL,
    other_list_id text COLLATE pg_catalog."C",
    provider_id text COLLATE pg_catalog."C",
    lines integer[] NOT NULL,
    text text NOT NULL,
    remedy text NOT NULL,
    CONSTRAINT price_findings_prefixes_check CHECK ((prefixes > 0)),
    CONSTRAINT price_findings_severity_check CHECK ((severity = ANY (ARRAY['error'::text, 'warning'::text, 'note'::text])))
);

COMMENT ON TABLE office.price_findings IS 'What a lint found, the gravest first';

COMMENT ON COLUMN office.price_findings.prefixes IS 'How many prefixes it stands for; `prefix` is one of them';

COMMENT ON COLUMN office.price_findings.lines IS 'Of the uploaded file';

CREATE TABLE office.price_list_versions (
    version_id bigint NOT NULL,
    price_list_id office.id NOT NULL,
    kind text NOT NULL,
    number integer NOT NULL,
    state text DEFAULT 'staged'::text NOT NULL,
    name office.words NOT NULL,
    provider_id office.id,
    currency office.currency NOT NULL,
    rounding text NOT NULL,
    decimals smallint NOT NULL,
    valid_from timestamp with time zone,
    valid_to timestamp with time zone,
    prices integer DEFAULT 0 NOT NULL,
    digest bytea,
    source text,
    created_at timestamp with time zone NOT NULL,
    created_by text NOT NULL,
    in_force_from timestamp with time zone,
    published_at timestamp with time zone,
    published_by text,
    ended_at timestamp with time zone,
    ended_by text,
    ended_why text,
    approved_at timestamp with time zone,
    approved_by text,
    restores bigint,
    reading jsonb,
    CONSTRAINT approved_by_another CHECK ((approved_by <> created_by)),
    CONSTRAINT approved_by_somebody CHECK (((approved_at IS NULL) = (approved_by IS NULL))),
    CONSTRAINT ended_has_its_reason CHECK ((((state = ANY (ARRAY['withdrawn'::text, 'discarded'::text])) = (ended_at IS NOT NULL)) AND ((ended_at IS NULL) = (ended_by IS NULL)) AND ((ended_at IS NULL) = (ended_why IS NULL)))),
    CONSTRAINT price_list_versions_check CHECK ((valid_to > valid_from)),
    CONSTRAINT price_list_versions_decimals_check CHECK (((decimals >= 0) AND (decimals <= 6))),
    CONSTRAINT price_list_versions_number_check CHECK ((number > 0)),
    CONSTRAINT price_list_versions_prices_check CHECK ((prices >= 0)),
    CONSTRAINT price_list_versions_rounding_check CHECK ((rounding = ANY (ARRAY['up'::text, 'half_up'::text, 'down'::text]))),
    CONSTRAINT price_list_versions_state_check CHECK ((state = ANY (ARRAY['staged'::text, 'published'::text, 'withdrawn'::text, 'discarded'::text]))),
    CONSTRAINT published_has_its_date CHECK ((((state = ANY (ARRAY['staged'::text, 'discarded'::text])) = (in_force_from IS NULL)) AND ((in_force_from IS NULL) = (published_at IS NULL)) AND ((in_force_from IS NULL) = (published_by IS NULL)))),
    CONSTRAINT whose_prices CHECK (((kind = 'retail'::text) OR (provider_id IS NOT NULL)))
);

COMMENT ON TABLE office.price_list_versions IS 'All that a price list ever said; of the published ones the one with the latest in_force_from that has come is in force';

COMMENT ON COLUMN office.price_list_versions.number IS 'Among the versions of its list';

COMMENT ON COLUMN office.price_list_versions.state IS 'staged: being worked on; published: fixed for ever; withdrawn: was published and counts no more, since it was rolled back or its list was removed; discarded: never was';

COMMENT ON COLUMN office.price_list_versions.provider_id IS 'Wholesale: whose prices they are; retail: for calls through this provider only';

COMMENT ON COLUMN office.price_list_versions.valid_from IS 'The list itself holds from here until just before valid_to, whatever the version';

COMMENT ON COLUMN office.price_list_versions.prices IS 'How many rows it has';

COMMENT ON COLUMN office.price_list_versions.digest IS 'SHA-256 of its rows: equal digests, equal prices';

COMMENT ON COLUMN office.price_list_versions.source IS 'The file that it came from';

COMMENT ON COLUMN office.price_list_versions.approved_by IS 'Who looked at it and would have it published; never who uploaded it';

COMMENT ON COLUMN office.price_list_versions.restores IS 'The published version that it is equal to, where it was made to roll back to that';

COMMENT ON COLUMN office.price_list_versions.reading IS 'What was noticed when the file was read: sheet, lines, doubles';

ALTER TABLE office.price_list_versions ALTER COLUMN version_id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME office.price_list_versions_version_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE office.price_lists (
    price_list_id office.id NOT NULL,
    kind text NOT NULL,
    removed_at timestamp with time zone,
    CONSTRAINT price_lists_kind_check CHECK ((kind = ANY (ARRAY['retail'::text, 'wholesale'::text])))
);

COMMENT ON TABLE office.price_lists IS 'Price lists; what stands in one is in its versions';

CREATE TABLE office.prices (
    version_id bigint NOT NULL,
    prefix text NOT NULL COLLATE pg_catalog."C",
    service text COLLATE pg_catalog."C",
    place text COLLATE pg_catalog."C",
    incoming_service text COLLATE pg_catalog."C",
    band_id text COLLATE pg_catalog."C",
    from_second integer NOT NULL,
    connect_fee_micros bigint NOT NULL,
    price_micros bigint NOT NULL,
    per_seconds integer NOT NULL,
    step_seconds integer NOT NULL,
    min_charge_micros bigint,
    max_charge_micros bigint,
    valid_from timestamp with time zone,
    valid_to timestamp with time zone,
    attempt_fee_micros bigint DEFAULT 0 NOT NULL,
    line integer,
    CONSTRAINT prices_attempt_fee_micros_check CHECK ((attempt_fee_micros >= 0)),
    CONSTRAINT prices_check CHECK ((valid_to > valid_from)),
    CONSTRAINT prices_connect_fee_micros_check CHECK ((connect_fee_micros >= 0)),
    CONSTRAINT prices_from_second_check CHECK ((from_second >= 0)),
    CONSTRAINT prices_line_check CHECK ((line > 0)),
    CONSTRAINT prices_max_charge_micros_check CHECK ((max_charge_micros >= 0)),
    CONSTRAINT prices_min_charge_micros_check CHECK ((min_charge_micros >= 0)),
    CONSTRAINT prices_per_seconds_check CHECK ((per_seconds > 0)),
    CONSTRAINT prices_prefix_check CHECK ((prefix ~ '^[0-9]{0,15}$'::text)),
    CONSTRAINT prices_price_micros_check CHECK ((price_micros >= 0)),
    CONSTRAINT prices_step_seconds_check CHECK ((step_seconds > 0))
);

COMMENT ON TABLE office.prices IS 'Tiers of prices; empty prefix: any number; null service, place, incoming service, band: any';

COMMENT ON COLUMN office.prices.price_micros IS 'For per_seconds, in whole steps of step_seconds, from second from_second of a call on';

COMMENT ON COLUMN office.prices.attempt_fee_micros IS 'For a call that was not answered';

COMMENT ON COLUMN office.prices.line IS 'Of the file that it came from; null where that is not known';

CREATE TABLE office.providers (
    provider_id office.id NOT NULL,
    name office.words NOT NULL,
    priority integer DEFAULT 0 NOT NULL,
    place office.id,
    pdgi boolean DEFAULT false NOT NULL,
    own boolean DEFAULT false NOT NULL,
    removed_at timestamp with time zone
);

COMMENT ON TABLE office.providers IS 'Carriers that calls leave through';

COMMENT ON COLUMN office.providers.priority IS 'The lower goes first among equally cheap ones';

COMMENT ON COLUMN office.providers.pdgi IS 'A provider of ПДГИ (§2.3)';

COMMENT ON COLUMN office.providers.own IS 'The operator itself';

CREATE TABLE office.resubmissions (
    source_partition integer NOT NULL,
    source_offset bigint NOT NULL,
    number integer NOT NULL,
    at timestamp with time zone NOT NULL,
    author text NOT NULL,
    reason text NOT NULL,
    edited boolean NOT NULL,
    forced boolean NOT NULL,
    event_id text NOT NULL COLLATE pg_catalog."C",
    key text COLLATE pg_catalog."C",
    payload bytea NOT NULL,
    change_id bigint NOT NULL,
    CONSTRAINT resubmissions_author_check CHECK ((author <> ''::text)),
    CONSTRAINT resubmissions_number_check CHECK ((number > 0)),
    CONSTRAINT resubmissions_reason_check CHECK ((reason <> ''::text))
);

COMMENT ON TABLE office.resubmissions IS 'Each time that a rejected event was submitted again: by whom, why, and the bytes that were sent';

COMMENT ON COLUMN office.resubmissions.number IS '1: the first time';

COMMENT ON COLUMN office.resubmissions.edited IS 'Whether other bytes were sent than those that had been rejected';

COMMENT ON COLUMN office.resubmissions.forced IS 'Whether it was sent though it had been sent before';

COMMENT ON COLUMN office.resubmissions.key IS 'Of the record on the topic; null: an event that names no account and no number';

COMMENT ON COLUMN office.resubmissions.change_id IS 'Of the audit and the outbox';

CREATE TABLE office.subscriber_history (
    subscriber_id text NOT NULL COLLATE pg_catalog."C",
    revision integer NOT NULL,
    at timestamp with time zone NOT NULL,
    actor text NOT NULL,
    why text NOT NULL,
    status text NOT NULL,
    planned_on date
);

COMMENT ON TABLE office.subscriber_history IS 'Each state of a subscriber; written by the database, for ever';

CREATE TABLE office.subscribers (
    subscriber_id text NOT NULL COLLATE pg_catalog."C",
    number office.digits NOT NULL,
    account_id office.id NOT NULL,
    product office.words NOT NULL,
    status text NOT NULL,
    planned_on date,
    reserved_at timestamp with time zone NOT NULL,
    reserved_on date NOT NULL,
    rested boolean NOT NULL,
    created_by text NOT NULL,
    activated_at timestamp with time zone,
    closed_at timestamp with time zone,
    closed_by text,
    closed_why office.words,
    revision integer DEFAULT 1 NOT NULL,
    changed_at timestamp with time zone NOT NULL,
    changed_by text NOT NULL,
    change_reason office.words NOT NULL,
    CONSTRAINT subscribers_closed CHECK (((status = 'closed'::text) = (closed_at IS NOT NULL))),
    CONSTRAINT subscribers_closed_why CHECK (((closed_at IS NULL) = (closed_why IS NULL))),
    CONSTRAINT subscribers_in_use CHECK (((status <> 'in_use'::text) OR (activated_at IS NOT NULL))),
    CONSTRAINT subscribers_revision_check CHECK ((revision > 0)),
    CONSTRAINT subscribers_status_check CHECK ((status = ANY (ARRAY['new'::text, 'in_use'::text, 'closed'::text])))
);

COMMENT ON TABLE office.subscribers IS 'Numbers on products of accounts: «Абонент» (§1.4)';

COMMENT ON COLUMN office.subscribers.planned_on IS 'The product''s planned activation: the days to pay count from then';

COMMENT ON COLUMN office.subscribers.rested IS 'Whether the number was clean when it was reserved';

CREATE TABLE office.tags (
    tag office.id NOT NULL,
    name office.words NOT NULL,
    created_at timestamp with time zone NOT NULL,
    created_by text NOT NULL
);

COMMENT ON TABLE office.tags IS 'Marks that the office puts on clients and accounts';

CREATE TABLE office.tariff_plan_lists (
    tariff_plan_id office.id NOT NULL,
    price_list_id office.id NOT NULL,
    priority integer DEFAULT 0 NOT NULL,
    place smallint NOT NULL
);

COMMENT ON TABLE office.tariff_plan_lists IS 'The retail lists of a plan';

COMMENT ON COLUMN office.tariff_plan_lists.priority IS 'The lower wins between prefixes of the same length';

COMMENT ON COLUMN office.tariff_plan_lists.place IS 'In the order of the plan';

CREATE TABLE office.tariff_plans (
    tariff_plan_id office.id NOT NULL,
    name office.words NOT NULL,
    forbid_loss boolean DEFAULT false NOT NULL,
    removed_at timestamp with time zone
);

COMMENT ON TABLE office.tariff_plans IS 'Which retail lists accounts are charged by';

COMMENT ON COLUMN office.tariff_plans.forbid_loss IS 'Whether a call may not be sold below its cost';

CREATE VIEW office.top_ups WITH (security_invoker='true') AS
 SELECT command_id,
    account_id,
    at,
    amount_micros,
    reference,
    source,
    reason,
    reverses,
    author,
    ordered_at,
    state,
    state_at,
    rejected_why
   FROM office.commands
  WHERE (kind = 'top_up'::text);

COMMENT ON VIEW office.top_ups IS 'Money that the office gave';

CREATE VIEW office.versions_seen AS
 SELECT v.price_list_id,
    v.version_id,
    v.number,
    v.kind,
    v.state,
    v.name,
    v.provider_id,
    v.currency,
    v.rounding,
    v.decimals,
    v.valid_from,
    v.valid_to,
    v.prices,
    v.digest,
    v.source,
    v.created_at,
    v.created_by,
    v.approved_at,
    v.approved_by,
    r.number AS restores,
    v.in_force_from,
    v.published_at,
    v.published_by,
    v.ended_at,
    v.ended_by,
    v.ended_why,
    c.state AS lint_state,
    c.result AS lint_result,
    v.reading
   FROM ((office.price_list_versions v
     LEFT JOIN office.price_list_versions r ON ((r.version_id = v.restores)))
     LEFT JOIN LATERAL ( SELECT
                CASE
                    WHEN ((k.state = 'running'::text) AND (k.beat_at < (now() - '00:01:00'::interval))) THEN 'failed'::text
                    ELSE k.state
                END AS state,
            k.result
           FROM office.price_checks k
          WHERE ((k.version_id = v.version_id) AND (k.kind = 'lint'::text))
          ORDER BY k.check_id DESC
         LIMIT 1) c ON (true));

COMMENT ON VIEW office.versions_seen IS 'Versions of price lists with the latest lint of each';

CREATE VIEW office.write_offs WITH (security_invoker='true') AS
 SELECT command_id,
    account_id,
    at,
    amount_micros,
    reference,
    source,
    reason,
    reverses,
    author,
    ordered_at,
    state,
    state_at,
    rejected_why
   FROM office.commands
  WHERE (kind = 'write_off'::text);

COMMENT ON VIEW office.write_offs IS 'Money that the office took';

CREATE TABLE plumbing.audit_head (
    one boolean DEFAULT true NOT NULL,
    seq bigint NOT NULL,
    hash bytea NOT NULL,
    CONSTRAINT audit_head_one_check CHECK (one)
);

COMMENT ON TABLE plumbing.audit_head IS 'The latest row of the audit; its lock makes writers queue until they commit';

CREATE SEQUENCE plumbing.change_ids
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;

COMMENT ON SEQUENCE plumbing.change_ids IS 'Numbers of changes; a change that failed leaves a gap';

CREATE TABLE plumbing.idempotency_keys (
    user_id text NOT NULL,
    key text NOT NULL,
    request_hash bytea NOT NULL,
    at timestamp with time zone NOT NULL,
    status integer,
    response bytea,
    headers jsonb,
    CONSTRAINT idempotency_keys_key_check CHECK (((length(key) >= 1) AND (length(key) <= 255)))
);

COMMENT ON TABLE plumbing.idempotency_keys IS 'Changing requests that were answered: the same key gets the same answer, another request under it is refused';

COMMENT ON COLUMN plumbing.idempotency_keys.status IS 'Of the answer (HTTP); null while it is worked on';

CREATE TABLE plumbing.migrations (
    version integer NOT NULL,
    name text NOT NULL,
    checksum text NOT NULL,
    program text NOT NULL,
    applied_at timestamp with time zone DEFAULT now() NOT NULL,
    applied_by text DEFAULT SESSION_USER NOT NULL,
    CONSTRAINT migrations_version_check CHECK ((version > 0))
);

COMMENT ON TABLE plumbing.migrations IS 'Files that were applied, with the SHA-256 of their text';

CREATE TABLE plumbing.outbox (
    seq bigint NOT NULL,
    change_id bigint NOT NULL,
    at timestamp with time zone NOT NULL,
    author text NOT NULL,
    kind text NOT NULL,
    key text NOT NULL,
    payload jsonb,
    reference_version bigint,
    published_at timestamp with time zone,
    CONSTRAINT outbox_key_check CHECK ((key <> ''::text)),
    CONSTRAINT outbox_kind_check CHECK ((kind <> ''::text)),
    CONSTRAINT outbox_reference_version_check CHECK ((reference_version > 0))
);

COMMENT ON TABLE plumbing.outbox IS 'What the engine is told, in the order of the commits; the relay publishes it, and it stays for ever';

COMMENT ON COLUMN plumbing.outbox.seq IS '1, 2, 3, … in the order of the commits, without gaps';

COMMENT ON COLUMN plumbing.outbox.change_id IS 'Rows of one change follow one another and come into force together';

COMMENT ON COLUMN plumbing.outbox.kind IS 'command, event (a rejected one, submitted again), or a kind of reference record: account, provider, tariff_plan, price_list, band, lock, number, discounts';

COMMENT ON COLUMN plumbing.outbox.key IS 'The id of what the record is about; of a command its account, of an event where it was rejected';

COMMENT ON COLUMN plumbing.outbox.payload IS 'The record; null: it is gone. Of a price list: {"version_id": n}, the published version. Of an event: its topic, key and bytes (base64)';

COMMENT ON COLUMN plumbing.outbox.reference_version IS 'Which version it became; null with published_at: none, for nothing differed, or it is a command or an event';

CREATE TABLE plumbing.outbox_head (
    one boolean DEFAULT true NOT NULL,
    seq bigint NOT NULL,
    CONSTRAINT outbox_head_one_check CHECK (one)
);

COMMENT ON TABLE plumbing.outbox_head IS 'The latest number of the outbox; its lock makes writers queue until they commit';

ALTER TABLE ONLY access.api_keys
    ADD CONSTRAINT api_keys_pkey PRIMARY KEY (prefix);

ALTER TABLE ONLY access.failed_logins
    ADD CONSTRAINT failed_logins_pkey PRIMARY KEY (subject);

ALTER TABLE ONLY access.sessions
    ADD CONSTRAINT sessions_pkey PRIMARY KEY (session_id);

ALTER TABLE ONLY access.sessions
    ADD CONSTRAINT sessions_token_hash_key UNIQUE (token_hash);

ALTER TABLE ONLY access.users
    ADD CONSTRAINT users_pkey PRIMARY KEY (name);

ALTER TABLE ONLY books.accounts
    ADD CONSTRAINT accounts_kind_owner_key UNIQUE (kind, owner);

ALTER TABLE ONLY books.accounts
    ADD CONSTRAINT accounts_pkey PRIMARY KEY (ledger_id);

ALTER TABLE ONLY books.rerating_accounts
    ADD CONSTRAINT rerating_accounts_pkey PRIMARY KEY (rerating_id, account_id);

ALTER TABLE ONLY books.rerating_accounts
    ADD CONSTRAINT rerating_accounts_posted_seq_key UNIQUE (posted_seq);

ALTER TABLE ONLY books.rerating_accounts
    ADD CONSTRAINT rerating_accounts_rerating_id_place_key UNIQUE (rerating_id, place);

ALTER TABLE ONLY books.rerating_items
    ADD CONSTRAINT rerating_items_pkey PRIMARY KEY (rerating_id, place);

ALTER TABLE ONLY books.rerating_items
    ADD CONSTRAINT rerating_items_rerating_id_cdr_id_ended_at_copy_key UNIQUE (rerating_id, cdr_id, ended_at, copy);

ALTER TABLE ONLY books.rerating_postings
    ADD CONSTRAINT rerating_postings_pkey PRIMARY KEY (posting_id);

ALTER TABLE ONLY books.reratings
    ADD CONSTRAINT reratings_pkey PRIMARY KEY (rerating_id);

ALTER TABLE ONLY facts.balances
    ADD CONSTRAINT balances_pkey PRIMARY KEY (account_id);

ALTER TABLE ONLY facts.gaps
    ADD CONSTRAINT gaps_pkey PRIMARY KEY (topic, partition, from_offset);

ALTER TABLE ONLY facts.known
    ADD CONSTRAINT known_pkey PRIMARY KEY (one);

ALTER TABLE ONLY facts.movements
    ADD CONSTRAINT movements_pkey PRIMARY KEY (source_partition, source_offset);

ALTER TABLE ONLY facts.ncv
    ADD CONSTRAINT ncv_pkey PRIMARY KEY (number, day);

ALTER TABLE ONLY facts.notices
    ADD CONSTRAINT notices_pkey PRIMARY KEY (source_partition, source_offset);

ALTER TABLE ONLY facts.offsets
    ADD CONSTRAINT offsets_pkey PRIMARY KEY (topic, partition);

ALTER TABLE ONLY facts.rejected
    ADD CONSTRAINT rejected_pkey PRIMARY KEY (source_partition, source_offset);

ALTER TABLE ONLY facts.unprojected
    ADD CONSTRAINT unprojected_pkey PRIMARY KEY (topic, partition, source_offset);

ALTER TABLE ONLY office.account_blocks
    ADD CONSTRAINT account_blocks_pkey PRIMARY KEY (block_id);

ALTER TABLE ONLY office.account_services
    ADD CONSTRAINT account_services_pkey PRIMARY KEY (account_id, service, connected_at);

ALTER TABLE ONLY office.account_tags
    ADD CONSTRAINT account_tags_pkey PRIMARY KEY (account_id, tag);

ALTER TABLE ONLY office.accounts
    ADD CONSTRAINT accounts_pkey PRIMARY KEY (account_id);

ALTER TABLE ONLY office.bands
    ADD CONSTRAINT bands_pkey PRIMARY KEY (band_id);

ALTER TABLE ONLY office.business_clock
    ADD CONSTRAINT business_clock_pkey PRIMARY KEY (one);

ALTER TABLE ONLY office.calendar_loaded
    ADD CONSTRAINT calendar_loaded_pkey PRIMARY KEY (one);

ALTER TABLE ONLY office.calendar
    ADD CONSTRAINT calendar_pkey PRIMARY KEY (day);

ALTER TABLE ONLY office.client_tags
    ADD CONSTRAINT client_tags_pkey PRIMARY KEY (client_id, tag);

ALTER TABLE ONLY office.clients
    ADD CONSTRAINT clients_pkey PRIMARY KEY (client_id);

ALTER TABLE ONLY office.commands
    ADD CONSTRAINT commands_pkey PRIMARY KEY (command_id);

ALTER TABLE ONLY office.direct_managers
    ADD CONSTRAINT direct_managers_pkey PRIMARY KEY (user_name);

ALTER TABLE ONLY office.discounts
    ADD CONSTRAINT discounts_account_id_service_valid_from_key UNIQUE NULLS NOT DISTINCT (account_id, service, valid_from);

ALTER TABLE ONLY office.discounts
    ADD CONSTRAINT discounts_pkey PRIMARY KEY (discount_id);

ALTER TABLE ONLY office.letter_attachments
    ADD CONSTRAINT letter_attachments_pkey PRIMARY KEY (letter_id, place);

ALTER TABLE ONLY office.letters
    ADD CONSTRAINT letters_once_key_key UNIQUE (once_key);

ALTER TABLE ONLY office.letters
    ADD CONSTRAINT letters_pkey PRIMARY KEY (letter_id);

ALTER TABLE ONLY office.lock_history
    ADD CONSTRAINT lock_history_pkey PRIMARY KEY (lock_id, revision);

ALTER TABLE ONLY office.locks
    ADD CONSTRAINT locks_pkey PRIMARY KEY (lock_id);

ALTER TABLE ONLY office.ncv_days
    ADD CONSTRAINT ncv_days_pkey PRIMARY KEY (day);

ALTER TABLE ONLY office.nightly_orders
    ADD CONSTRAINT nightly_orders_pkey PRIMARY KEY (order_id);

ALTER TABLE ONLY office.nightly_runs
    ADD CONSTRAINT nightly_runs_pkey PRIMARY KEY (day, job);

ALTER TABLE ONLY office.number_groups
    ADD CONSTRAINT number_groups_pkey PRIMARY KEY (group_name, member);

ALTER TABLE ONLY office.number_history
    ADD CONSTRAINT number_history_pkey PRIMARY KEY (number, revision);

ALTER TABLE ONLY office.number_requests
    ADD CONSTRAINT number_requests_pkey PRIMARY KEY (request_id);

ALTER TABLE ONLY office.numbers
    ADD CONSTRAINT numbers_pkey PRIMARY KEY (number);

ALTER TABLE ONLY office.price_checks
    ADD CONSTRAINT price_checks_pkey PRIMARY KEY (check_id);

ALTER TABLE ONLY office.price_findings
    ADD CONSTRAINT price_findings_pkey PRIMARY KEY (check_id, place);

ALTER TABLE ONLY office.price_list_versions
    ADD CONSTRAINT price_list_versions_pkey PRIMARY KEY (version_id);

ALTER TABLE ONLY office.price_list_versions
    ADD CONSTRAINT price_list_versions_price_list_id_number_key UNIQUE (price_list_id, number);

ALTER TABLE ONLY office.price_lists
    ADD CONSTRAINT price_lists_pkey PRIMARY KEY (price_list_id);

ALTER TABLE ONLY office.price_lists
    ADD CONSTRAINT price_lists_price_list_id_kind_key UNIQUE (price_list_id, kind);

ALTER TABLE ONLY office.providers
    ADD CONSTRAINT providers_pkey PRIMARY KEY (provider_id);

ALTER TABLE ONLY office.resubmissions
    ADD CONSTRAINT resubmissions_pkey PRIMARY KEY (source_partition, source_offset, number);

ALTER TABLE ONLY office.subscriber_history
    ADD CONSTRAINT subscriber_history_pkey PRIMARY KEY (subscriber_id, revision);

ALTER TABLE ONLY office.subscribers
    ADD CONSTRAINT subscribers_pkey PRIMARY KEY (subscriber_id);

ALTER TABLE ONLY office.tags
    ADD CONSTRAINT tags_pkey PRIMARY KEY (tag);

ALTER TABLE ONLY office.tariff_plan_lists
    ADD CONSTRAINT tariff_plan_lists_pkey PRIMARY KEY (tariff_plan_id, price_list_id);

ALTER TABLE ONLY office.tariff_plans
    ADD CONSTRAINT tariff_plans_pkey PRIMARY KEY (tariff_plan_id);

ALTER TABLE ONLY plumbing.audit_head
    ADD CONSTRAINT audit_head_pkey PRIMARY KEY (one);

ALTER TABLE ONLY plumbing.audit
    ADD CONSTRAINT audit_pkey PRIMARY KEY (seq);

ALTER TABLE ONLY plumbing.idempotency_keys
    ADD CONSTRAINT idempotency_keys_pkey PRIMARY KEY (user_id, key);

ALTER TABLE ONLY plumbing.migrations
    ADD CONSTRAINT migrations_name_key UNIQUE (name);

ALTER TABLE ONLY plumbing.migrations
    ADD CONSTRAINT migrations_pkey PRIMARY KEY (version);

ALTER TABLE ONLY plumbing.outbox_head
    ADD CONSTRAINT outbox_head_pkey PRIMARY KEY (one);

ALTER TABLE ONLY plumbing.outbox
    ADD CONSTRAINT outbox_pkey PRIMARY KEY (seq);

CREATE INDEX api_keys_user ON access.api_keys USING btree (user_name);

CREATE INDEX failed_logins_last ON access.failed_logins USING btree (last_at);

CREATE INDEX sessions_expires ON access.sessions USING btree (expires_at);

CREATE INDEX sessions_user ON access.sessions USING btree (user_name) WHERE (ended_at IS NULL);

CREATE INDEX rerating_items_account ON books.rerating_items USING btree (rerating_id, account_id, place);

CREATE INDEX rerating_items_cdr ON books.rerating_items USING btree (cdr_id, ended_at, copy) WHERE (problem IS NULL);

CREATE INDEX rerating_items_corrects ON books.rerating_items USING btree (corrects) WHERE (corrects IS NOT NULL);

CREATE UNIQUE INDEX rerating_postings_once ON books.rerating_postings USING btree (rerating_id, account_id, back, debit_kind, debit_owner, credit_kind, credit_owner);

CREATE UNIQUE INDEX reratings_one_at_a_time ON books.reratings USING btree ((true)) WHERE (state = ANY (ARRAY['posting'::text, 'rolling_back'::text]));

CREATE INDEX reratings_wanted ON books.reratings USING btree (rerating_id) WHERE (wanted IS NOT NULL);

CREATE INDEX transfers_account ON ONLY books.transfers USING btree (account_id, day) WHERE (account_id IS NOT NULL);

CREATE INDEX attempts_account ON ONLY facts.attempts USING btree (account_id, at) WHERE (kind = 'call_attempt'::text);

CREATE INDEX attempts_called ON ONLY facts.attempts USING btree (called, at) WHERE (kind = 'call_attempt'::text);

CREATE INDEX attempts_caller ON ONLY facts.attempts USING btree (caller, at) WHERE ((kind = 'call_attempt'::text) AND (caller IS NOT NULL));

CREATE INDEX attempts_id ON ONLY facts.attempts USING btree (attempt_id);

CREATE INDEX decisions_denied ON ONLY facts.decisions USING btree (reason, at) WHERE (reason IS NOT NULL);

CREATE INDEX decisions_lock ON ONLY facts.decisions USING btree (lock_id, at) WHERE (lock_id IS NOT NULL);

CREATE UNIQUE INDEX decisions_once ON ONLY facts.decisions USING btree (attempt_id, extension, copy, at);

CREATE INDEX movements_account ON facts.movements USING btree (account_id, at);

CREATE UNIQUE INDEX movements_once ON facts.movements USING btree (cause_id, account_id, kind, copy);

CREATE INDEX ncv_day ON facts.ncv USING btree (day);

CREATE INDEX notices_account ON facts.notices USING btree (account_id, at);

CREATE INDEX rated_cdrs_account ON ONLY facts.rated_cdrs USING btree (account_id, service, ended_at);

CREATE INDEX rated_cdrs_attempt ON ONLY facts.rated_cdrs USING btree (attempt_id) WHERE (attempt_id IS NOT NULL);

CREATE INDEX rated_cdrs_called ON ONLY facts.rated_cdrs USING btree (called, service, ended_at);

CREATE UNIQUE INDEX rated_cdrs_once ON ONLY facts.rated_cdrs USING btree (cdr_id, copy, ended_at);

CREATE INDEX rated_cdrs_service ON ONLY facts.rated_cdrs USING btree (service, ended_at);

CREATE INDEX rejected_account ON facts.rejected USING btree (account_id, recorded_at) WHERE (account_id IS NOT NULL);

CREATE INDEX rejected_event ON facts.rejected USING btree (event_id) WHERE (event_id IS NOT NULL);

CREATE INDEX rejected_open ON facts.rejected USING btree (recorded_at, source_partition, source_offset) WHERE ((resubmitted_at IS NULL) AND (set_aside_at IS NULL));

CREATE INDEX rejected_reason ON facts.rejected USING btree (reason, recorded_at);

CREATE INDEX rejected_recorded ON facts.rejected USING btree (recorded_at, source_partition, source_offset);

CREATE INDEX account_blocks_account ON office.account_blocks USING btree (account_id, blocked_at DESC);

CREATE UNIQUE INDEX account_blocks_now ON office.account_blocks USING btree (account_id) WHERE (unblocked_at IS NULL);

CREATE UNIQUE INDEX account_services_connected ON office.account_services USING btree (account_id, service) WHERE (disconnected_at IS NULL);

CREATE INDEX account_tags_tag ON office.account_tags USING btree (tag);

CREATE INDEX accounts_client ON office.accounts USING btree (client_id);

CREATE INDEX accounts_mention_parts ON office.accounts USING gin (office.word_parts(mention_words));

CREATE INDEX accounts_plan ON office.accounts USING btree (tariff_plan_id);

CREATE INDEX client_tags_tag ON office.client_tags USING btree (tag);

CREATE INDEX clients_by_name ON office.clients USING btree (name, client_id);

CREATE INDEX clients_inn ON office.clients USING btree (inn);

CREATE INDEX clients_manager ON office.clients USING btree (manager);

CREATE INDEX clients_mention_parts ON office.clients USING gin (office.word_parts(mention_words));

CREATE INDEX clients_phones ON office.clients USING gin (phones);

CREATE INDEX clients_word_parts ON office.clients USING gin (office.word_parts(search_words));

CREATE INDEX commands_account ON office.commands USING btree (account_id, at DESC, command_id DESC);

CREATE INDEX commands_ordered ON office.commands USING btree (ordered_at) WHERE (state = 'ordered'::text);

CREATE UNIQUE INDEX commands_reversed_once ON office.commands USING btree (reverses) WHERE (reverses IS NOT NULL);

CREATE INDEX letters_account ON office.letters USING btree (account_id, letter_id) WHERE (account_id IS NOT NULL);

CREATE INDEX letters_client ON office.letters USING btree (client_id, letter_id) WHERE (client_id IS NOT NULL);

CREATE INDEX letters_kind ON office.letters USING btree (kind, letter_id);

CREATE INDEX letters_waiting ON office.letters USING btree (letter_id) WHERE (state = 'waiting'::text);

CREATE INDEX lock_history_at ON office.lock_history USING btree (at);

CREATE INDEX lock_history_digits ON office.lock_history USING btree (digits);

CREATE INDEX locks_account ON office.locks USING btree (account_id) WHERE (lifted_at IS NULL);

CREATE INDEX locks_digits ON office.locks USING btree (digits) WHERE (lifted_at IS NULL);

CREATE INDEX locks_ends ON office.locks USING btree (ends_at) WHERE ((lifted_at IS NULL) AND (ends_at IS NOT NULL));

CREATE INDEX locks_newest ON office.locks USING btree (created_at DESC, lock_id DESC);

CREATE INDEX locks_provider ON office.locks USING btree (provider_id) WHERE (provider_id IS NOT NULL);

CREATE INDEX nightly_orders_waiting ON office.nightly_orders USING btree (order_id) WHERE (state = 'waiting'::text);

CREATE INDEX nightly_runs_job ON office.nightly_runs USING btree (job, day);

CREATE INDEX number_history_account ON office.number_history USING btree (account_id, number) WHERE (account_id IS NOT NULL);

CREATE INDEX number_requests_newest ON office.number_requests USING btree (asked_at DESC, request_id DESC);

CREATE INDEX number_requests_number ON office.number_requests USING btree (number, asked_at);

CREATE UNIQUE INDEX number_requests_one_in_force ON office.number_requests USING btree (number) WHERE ((state = 'approved'::text) AND (ended_at IS NULL));

CREATE UNIQUE INDEX number_requests_one_open ON office.number_requests USING btree (number) WHERE (state = ANY (ARRAY['waiting_for_client'::text, 'waiting'::text]));

CREATE INDEX number_requests_queue ON office.number_requests USING btree (desk, asked_at DESC) WHERE (state = ANY (ARRAY['waiting_for_client'::text, 'waiting'::text]));

CREATE INDEX numbers_account ON office.numbers USING btree (account_id) WHERE (account_id IS NOT NULL);

CREATE INDEX numbers_provider ON office.numbers USING btree (provider_id, number) WHERE (provider_id IS NOT NULL);

CREATE INDEX numbers_rare ON office.numbers USING btree (number) WHERE ((saleable <> 'depends_on_ncv'::text) OR fmtn OR ((place)::text = 'Агентские номера'::text));

CREATE INDEX numbers_region ON office.numbers USING btree (region, number) WHERE (region IS NOT NULL);

CREATE INDEX numbers_status ON office.numbers USING btree (status, number);

CREATE INDEX price_checks_version ON office.price_checks USING btree (version_id, kind, check_id);

CREATE INDEX price_list_versions_in_force ON office.price_list_versions USING btree (price_list_id, in_force_from DESC, number DESC) WHERE (in_force_from IS NOT NULL);

CREATE INDEX price_list_versions_restores ON office.price_list_versions USING btree (restores) WHERE (restores IS NOT NULL);

CREATE INDEX price_list_versions_staged ON office.price_list_versions USING btree (created_at) WHERE (state = 'staged'::text);

CREATE INDEX prices_band ON office.prices USING btree (band_id) WHERE (band_id IS NOT NULL);

CREATE INDEX prices_place ON office.prices USING btree (place) WHERE (place IS NOT NULL);

CREATE UNIQUE INDEX prices_tier ON office.prices USING btree (version_id, prefix, from_second, service, place, incoming_service, band_id, valid_from, valid_to) NULLS NOT DISTINCT;

CREATE INDEX subscribers_account ON office.subscribers USING btree (account_id, subscriber_id);

CREATE INDEX subscribers_number ON office.subscribers USING btree (number, reserved_at);

CREATE UNIQUE INDEX subscribers_one_open ON office.subscribers USING btree (number) WHERE (status <> 'closed'::text);

CREATE INDEX subscribers_unpaid ON office.subscribers USING btree (subscriber_id) WHERE (status = 'new'::text);

CREATE INDEX tariff_plan_lists_list ON office.tariff_plan_lists USING btree (price_list_id);

CREATE INDEX audit_actor ON plumbing.audit USING btree (actor, seq);

CREATE INDEX audit_at ON plumbing.audit USING btree (at);

CREATE INDEX audit_entity ON plumbing.audit USING btree (entity, entity_id, seq);

CREATE INDEX idempotency_keys_at ON plumbing.idempotency_keys USING btree (at);

CREATE INDEX outbox_key ON plumbing.outbox USING btree (kind, key, seq);

CREATE INDEX outbox_version ON plumbing.outbox USING btree (reference_version) WHERE (reference_version IS NOT NULL);

CREATE INDEX outbox_waiting ON plumbing.outbox USING btree (seq) WHERE (published_at IS NULL);

INSERT INTO office.calendar_loaded SELECT * FROM jsonb_populate_record(NULL::office.calendar_loaded, '{"one": true, "days": "{}"}');
INSERT INTO plumbing.audit_head SELECT * FROM jsonb_populate_record(NULL::plumbing.audit_head, '{"one": true, "seq": 0, "hash": "\\x0000000000000000000000000000000000000000000000000000000000000000"}');
INSERT INTO plumbing.outbox_head SELECT * FROM jsonb_populate_record(NULL::plumbing.outbox_head, '{"one": true, "seq": 0}');

CREATE TRIGGER guard_user BEFORE UPDATE ON access.users FOR EACH ROW EXECUTE FUNCTION access.guard_user();

CREATE TRIGGER users_stay BEFORE DELETE OR TRUNCATE ON access.users FOR EACH STATEMENT EXECUTE FUNCTION plumbing.refuse_change();

CREATE TRIGGER book AFTER INSERT ON books.rerating_postings FOR EACH ROW EXECUTE FUNCTION books.book_posting();

CREATE TRIGGER guard BEFORE UPDATE ON books.rerating_accounts FOR EACH ROW EXECUTE FUNCTION books.guard_rerating_account();

CREATE TRIGGER guard BEFORE UPDATE ON books.reratings FOR EACH ROW EXECUTE FUNCTION books.guard_rerating();

CREATE TRIGGER guard_gone AFTER DELETE ON books.rerating_accounts REFERENCING OLD TABLE AS touched FOR EACH STATEMENT EXECUTE FUNCTION books.guard_preview();

CREATE TRIGGER guard_gone AFTER DELETE ON books.rerating_items REFERENCING OLD TABLE AS touched FOR EACH STATEMENT EXECUTE FUNCTION books.guard_preview();

CREATE TRIGGER guard_new AFTER INSERT ON books.rerating_accounts REFERENCING NEW TABLE AS touched FOR EACH STATEMENT EXECUTE FUNCTION books.guard_preview();

CREATE TRIGGER guard_new AFTER INSERT ON books.rerating_items REFERENCING NEW TABLE AS touched FOR EACH STATEMENT EXECUTE FUNCTION books.guard_preview();

CREATE TRIGGER only_grows BEFORE TRUNCATE ON books.transfers FOR EACH STATEMENT EXECUTE FUNCTION plumbing.refuse_change();

CREATE TRIGGER stays BEFORE DELETE OR UPDATE OR TRUNCATE ON books.accounts FOR EACH STATEMENT EXECUTE FUNCTION plumbing.refuse_change();

CREATE TRIGGER stays BEFORE UPDATE OR TRUNCATE ON books.rerating_items FOR EACH STATEMENT EXECUTE FUNCTION plumbing.refuse_change();

CREATE TRIGGER stays BEFORE DELETE OR UPDATE OR TRUNCATE ON books.rerating_postings FOR EACH STATEMENT EXECUTE FUNCTION plumbing.refuse_change();

CREATE TRIGGER stays BEFORE DELETE OR TRUNCATE ON books.reratings FOR EACH STATEMENT EXECUTE FUNCTION plumbing.refuse_change();

CREATE TRIGGER stays BEFORE DELETE OR UPDATE ON books.transfers FOR EACH ROW EXECUTE FUNCTION plumbing.refuse_change();

CREATE TRIGGER only_grows BEFORE TRUNCATE ON facts.attempts FOR EACH STATEMENT EXECUTE FUNCTION plumbing.refuse_change();

CREATE TRIGGER only_grows BEFORE TRUNCATE ON facts.decisions FOR EACH STATEMENT EXECUTE FUNCTION plumbing.refuse_change();

CREATE TRIGGER only_grows BEFORE TRUNCATE ON facts.movements FOR EACH STATEMENT EXECUTE FUNCTION plumbing.refuse_change();

CREATE TRIGGER only_grows BEFORE TRUNCATE ON facts.rated_cdrs FOR EACH STATEMENT EXECUTE FUNCTION plumbing.refuse_change();

CREATE TRIGGER stays BEFORE DELETE OR UPDATE ON facts.attempts FOR EACH ROW EXECUTE FUNCTION plumbing.refuse_change();

CREATE TRIGGER stays BEFORE DELETE OR UPDATE ON facts.decisions FOR EACH ROW EXECUTE FUNCTION plumbing.refuse_change();

CREATE TRIGGER stays BEFORE DELETE OR UPDATE ON facts.movements FOR EACH ROW EXECUTE FUNCTION plumbing.refuse_change();

CREATE TRIGGER stays BEFORE DELETE OR UPDATE ON facts.rated_cdrs FOR EACH ROW EXECUTE FUNCTION plumbing.refuse_change();

CREATE TRIGGER accounts_stay BEFORE DELETE OR TRUNCATE ON office.accounts FOR EACH STATEMENT EXECUTE FUNCTION plumbing.refuse_change();

CREATE TRIGGER calendar_loaded_stays BEFORE INSERT OR DELETE OR TRUNCATE ON office.calendar_loaded FOR EACH STATEMENT EXECUTE FUNCTION plumbing.refuse_change();

CREATE TRIGGER commands_stay BEFORE DELETE OR TRUNCATE ON office.commands FOR EACH STATEMENT EXECUTE FUNCTION plumbing.refuse_change();

CREATE TRIGGER guard_account BEFORE UPDATE ON office.accounts FOR EACH ROW EXECUTE FUNCTION office.guard_account();

CREATE TRIGGER guard_approval BEFORE UPDATE ON office.price_list_versions FOR EACH ROW EXECUTE FUNCTION office.guard_approval();

CREATE TRIGGER guard_command BEFORE UPDATE ON office.commands FOR EACH ROW EXECUTE FUNCTION office.guard_command();

CREATE TRIGGER guard_gone_approved_prices AFTER DELETE ON office.prices REFERENCING OLD TABLE AS touched FOR EACH STATEMENT EXECUTE FUNCTION office.guard_approved_prices();

CREATE TRIGGER guard_gone_prices AFTER DELETE ON office.prices REFERENCING OLD TABLE AS touched FOR EACH STATEMENT EXECUTE FUNCTION office.guard_prices();

CREATE TRIGGER guard_letter BEFORE UPDATE ON office.letters FOR EACH ROW EXECUTE FUNCTION office.guard_letter();

CREATE TRIGGER guard_new_approved_prices AFTER INSERT ON office.prices REFERENCING NEW TABLE AS touched FOR EACH STATEMENT EXECUTE FUNCTION office.guard_approved_prices();

CREATE TRIGGER guard_new_number AFTER INSERT ON office.numbers FOR EACH ROW WHEN ((new.saleable = 'forced_yes'::text)) EXECUTE FUNCTION office.guard_number_way();

CREATE TRIGGER guard_new_prices AFTER INSERT ON office.prices REFERENCING NEW TABLE AS touched FOR EACH STATEMENT EXECUTE FUNCTION office.guard_prices();

CREATE TRIGGER guard_nightly_run BEFORE UPDATE ON office.nightly_runs FOR EACH ROW EXECUTE FUNCTION office.guard_nightly_run();

CREATE TRIGGER guard_number_request BEFORE UPDATE ON office.number_requests FOR EACH ROW EXECUTE FUNCTION office.guard_number_request();

CREATE TRIGGER guard_number_way BEFORE UPDATE ON office.numbers FOR EACH ROW WHEN (((new.status <> old.status) OR (new.saleable <> old.saleable))) EXECUTE FUNCTION office.guard_number_way();

CREATE TRIGGER guard_subscriber BEFORE INSERT OR UPDATE ON office.subscribers FOR EACH ROW EXECUTE FUNCTION office.guard_subscriber();

CREATE TRIGGER guard_version BEFORE DELETE OR UPDATE ON office.price_list_versions FOR EACH ROW EXECUTE FUNCTION office.guard_version();

CREATE TRIGGER letter_attachments_only_grow BEFORE DELETE OR UPDATE OR TRUNCATE ON office.letter_attachments FOR EACH STATEMENT EXECUTE FUNCTION plumbing.refuse_change();

CREATE TRIGGER letters_stay BEFORE DELETE OR TRUNCATE ON office.letters FOR EACH STATEMENT EXECUTE FUNCTION plumbing.refuse_change();

CREATE TRIGGER lock_history_only_grows BEFORE DELETE OR UPDATE OR TRUNCATE ON office.lock_history FOR EACH STATEMENT EXECUTE FUNCTION plumbing.refuse_change();

CREATE TRIGGER locks_stay BEFORE DELETE OR TRUNCATE ON office.locks FOR EACH STATEMENT EXECUTE FUNCTION plumbing.refuse_change();

CREATE TRIGGER ncv_days_only_grow BEFORE DELETE OR UPDATE OR TRUNCATE ON office.ncv_days FOR EACH STATEMENT EXECUTE FUNCTION plumbing.refuse_change();

CREATE TRIGGER nightly_orders_stay BEFORE DELETE OR TRUNCATE ON office.nightly_orders FOR EACH STATEMENT EXECUTE FUNCTION plumbing.refuse_change();

CREATE TRIGGER nightly_runs_stay BEFORE DELETE OR TRUNCATE ON office.nightly_runs FOR EACH STATEMENT EXECUTE FUNCTION plumbing.refuse_change();

CREATE TRIGGER number_history_only_grows BEFORE DELETE OR UPDATE OR TRUNCATE ON office.number_history FOR EACH STATEMENT EXECUTE FUNCTION plumbing.refuse_change();

CREATE TRIGGER number_lock_changes BEFORE INSERT OR UPDATE ON office.locks FOR EACH ROW EXECUTE FUNCTION office.number_lock_changes();

CREATE TRIGGER number_number_changes BEFORE INSERT OR UPDATE ON office.numbers FOR EACH ROW EXECUTE FUNCTION office.number_number_changes();

CREATE TRIGGER number_requests_stay BEFORE DELETE OR TRUNCATE ON office.number_requests FOR EACH STATEMENT EXECUTE FUNCTION plumbing.refuse_change();

CREATE TRIGGER numbers_stay BEFORE DELETE OR TRUNCATE ON office.numbers FOR EACH STATEMENT EXECUTE FUNCTION plumbing.refuse_change();

CREATE TRIGGER only_grows BEFORE DELETE OR UPDATE OR TRUNCATE ON office.resubmissions FOR EACH STATEMENT EXECUTE FUNCTION plumbing.refuse_change();

CREATE TRIGGER prices_stay BEFORE UPDATE OR TRUNCATE ON office.prices FOR EACH STATEMENT EXECUTE FUNCTION plumbing.refuse_change();

CREATE TRIGGER subscriber_history_only_grows BEFORE DELETE OR UPDATE OR TRUNCATE ON office.subscriber_history FOR EACH STATEMENT EXECUTE FUNCTION plumbing.refuse_change();

CREATE TRIGGER subscribers_stay BEFORE DELETE OR TRUNCATE ON office.subscribers FOR EACH STATEMENT EXECUTE FUNCTION plumbing.refuse_change();

CREATE TRIGGER versions_stay BEFORE TRUNCATE ON office.price_list_versions FOR EACH STATEMENT EXECUTE FUNCTION plumbing.refuse_change();

CREATE TRIGGER write_lock_history AFTER INSERT OR UPDATE ON office.locks FOR EACH ROW EXECUTE FUNCTION office.write_lock_history();

CREATE TRIGGER write_number_changes AFTER UPDATE ON office.numbers REFERENCING NEW TABLE AS touched FOR EACH STATEMENT EXECUTE FUNCTION office.write_number_history();

CREATE TRIGGER write_number_history AFTER INSERT ON office.numbers REFERENCING NEW TABLE AS touched FOR EACH STATEMENT EXECUTE FUNCTION office.write_number_history();

CREATE TRIGGER write_subscriber_history AFTER INSERT OR UPDATE ON office.subscribers FOR EACH ROW EXECUTE FUNCTION office.write_subscriber_history();

CREATE TRIGGER audit_head_stays BEFORE INSERT OR DELETE OR TRUNCATE ON plumbing.audit_head FOR EACH STATEMENT EXECUTE FUNCTION plumbing.refuse_change();

CREATE TRIGGER audit_only_grows BEFORE DELETE OR UPDATE OR TRUNCATE ON plumbing.audit FOR EACH STATEMENT EXECUTE FUNCTION plumbing.refuse_change();

CREATE TRIGGER chain_audit BEFORE INSERT ON plumbing.audit FOR EACH ROW EXECUTE FUNCTION plumbing.chain_audit();

CREATE TRIGGER guard_outbox BEFORE UPDATE ON plumbing.outbox FOR EACH ROW EXECUTE FUNCTION plumbing.guard_outbox();

CREATE TRIGGER leave_audit AFTER INSERT ON plumbing.audit FOR EACH STATEMENT EXECUTE FUNCTION plumbing.leave_audit();

CREATE TRIGGER leave_outbox AFTER INSERT ON plumbing.outbox FOR EACH STATEMENT EXECUTE FUNCTION plumbing.leave_outbox();

CREATE TRIGGER number_outbox BEFORE INSERT ON plumbing.outbox FOR EACH ROW EXECUTE FUNCTION plumbing.number_outbox();

CREATE TRIGGER outbox_only_grows BEFORE DELETE OR TRUNCATE ON plumbing.outbox FOR EACH STATEMENT EXECUTE FUNCTION plumbing.refuse_change();

CREATE TRIGGER take_audit BEFORE INSERT ON plumbing.audit FOR EACH STATEMENT EXECUTE FUNCTION plumbing.take_audit();

CREATE TRIGGER take_outbox BEFORE INSERT ON plumbing.outbox FOR EACH STATEMENT EXECUTE FUNCTION plumbing.take_outbox();

ALTER TABLE ONLY access.api_keys
    ADD CONSTRAINT api_keys_user_name_fkey FOREIGN KEY (user_name) REFERENCES access.users(name);

ALTER TABLE ONLY access.sessions
    ADD CONSTRAINT sessions_user_name_fkey FOREIGN KEY (user_name) REFERENCES access.users(name);

ALTER TABLE ONLY books.rerating_accounts
    ADD CONSTRAINT rerating_accounts_back_command_id_fkey FOREIGN KEY (back_command_id) REFERENCES office.commands(command_id);

ALTER TABLE ONLY books.rerating_accounts
    ADD CONSTRAINT rerating_accounts_command_id_fkey FOREIGN KEY (command_id) REFERENCES office.commands(command_id);

ALTER TABLE ONLY books.rerating_accounts
    ADD CONSTRAINT rerating_accounts_rerating_id_fkey FOREIGN KEY (rerating_id) REFERENCES books.reratings(rerating_id);

ALTER TABLE ONLY books.rerating_items
    ADD CONSTRAINT rerating_items_corrects_fkey FOREIGN KEY (corrects) REFERENCES books.reratings(rerating_id);

ALTER TABLE ONLY books.rerating_items
    ADD CONSTRAINT rerating_items_rerating_id_fkey FOREIGN KEY (rerating_id) REFERENCES books.reratings(rerating_id);

ALTER TABLE ONLY books.rerating_postings
    ADD CONSTRAINT rerating_postings_rerating_id_account_id_fkey FOREIGN KEY (rerating_id, account_id) REFERENCES books.rerating_accounts(rerating_id, account_id);

ALTER TABLE ONLY office.account_blocks
    ADD CONSTRAINT account_blocks_account_id_fkey FOREIGN KEY (account_id) REFERENCES office.accounts(account_id);

ALTER TABLE ONLY office.account_blocks
    ADD CONSTRAINT account_blocks_block_command_id_fkey FOREIGN KEY (block_command_id) REFERENCES office.commands(command_id);

ALTER TABLE ONLY office.account_blocks
    ADD CONSTRAINT account_blocks_unblock_command_id_fkey FOREIGN KEY (unblock_command_id) REFERENCES office.commands(command_id);

ALTER TABLE ONLY office.account_services
    ADD CONSTRAINT account_services_account_id_fkey FOREIGN KEY (account_id) REFERENCES office.accounts(account_id);

ALTER TABLE ONLY office.account_tags
    ADD CONSTRAINT account_tags_account_id_fkey FOREIGN KEY (account_id) REFERENCES office.accounts(account_id);

ALTER TABLE ONLY office.account_tags
    ADD CONSTRAINT account_tags_tag_fkey FOREIGN KEY (tag) REFERENCES office.tags(tag);

ALTER TABLE ONLY office.accounts
    ADD CONSTRAINT accounts_client_id_fkey FOREIGN KEY (client_id) REFERENCES office.clients(client_id);

ALTER TABLE ONLY office.accounts
    ADD CONSTRAINT accounts_tariff_plan_id_fkey FOREIGN KEY (tariff_plan_id) REFERENCES office.tariff_plans(tariff_plan_id);

ALTER TABLE ONLY office.client_tags
    ADD CONSTRAINT client_tags_client_id_fkey FOREIGN KEY (client_id) REFERENCES office.clients(client_id);

ALTER TABLE ONLY office.client_tags
    ADD CONSTRAINT client_tags_tag_fkey FOREIGN KEY (tag) REFERENCES office.tags(tag);

ALTER TABLE ONLY office.commands
    ADD CONSTRAINT commands_account_id_fkey FOREIGN KEY (account_id) REFERENCES office.accounts(account_id);

ALTER TABLE ONLY office.direct_managers
    ADD CONSTRAINT direct_managers_manager_fkey FOREIGN KEY (manager) REFERENCES access.users(name);

ALTER TABLE ONLY office.direct_managers
    ADD CONSTRAINT direct_managers_user_name_fkey FOREIGN KEY (user_name) REFERENCES access.users(name);

ALTER TABLE ONLY office.discounts
    ADD CONSTRAINT discounts_account_id_fkey FOREIGN KEY (account_id) REFERENCES office.accounts(account_id);

ALTER TABLE ONLY office.letter_attachments
    ADD CONSTRAINT letter_attachments_letter_id_fkey FOREIGN KEY (letter_id) REFERENCES office.letters(letter_id);

ALTER TABLE ONLY office.letters
    ADD CONSTRAINT letters_account_id_fkey FOREIGN KEY (account_id) REFERENCES office.accounts(account_id);

ALTER TABLE ONLY office.letters
    ADD CONSTRAINT letters_client_id_fkey FOREIGN KEY (client_id) REFERENCES office.clients(client_id);

ALTER TABLE ONLY office.lock_history
    ADD CONSTRAINT lock_history_lock_id_fkey FOREIGN KEY (lock_id) REFERENCES office.locks(lock_id);

ALTER TABLE ONLY office.locks
    ADD CONSTRAINT locks_account_id_fkey FOREIGN KEY (account_id) REFERENCES office.accounts(account_id);

ALTER TABLE ONLY office.locks
    ADD CONSTRAINT locks_provider_id_fkey FOREIGN KEY (provider_id) REFERENCES office.providers(provider_id);

ALTER TABLE ONLY office.number_groups
    ADD CONSTRAINT number_groups_member_fkey FOREIGN KEY (member) REFERENCES access.users(name);

ALTER TABLE ONLY office.number_history
    ADD CONSTRAINT number_history_number_fkey FOREIGN KEY (number) REFERENCES office.numbers(number);

ALTER TABLE ONLY office.number_requests
    ADD CONSTRAINT number_requests_client_id_fkey FOREIGN KEY (client_id) REFERENCES office.clients(client_id);

ALTER TABLE ONLY office.number_requests
    ADD CONSTRAINT number_requests_number_fkey FOREIGN KEY (number) REFERENCES office.numbers(number);

ALTER TABLE ONLY office.numbers
    ADD CONSTRAINT numbers_account_id_fkey FOREIGN KEY (account_id) REFERENCES office.accounts(account_id);

ALTER TABLE ONLY office.numbers
    ADD CONSTRAINT numbers_provider_id_fkey FOREIGN KEY (provider_id) REFERENCES office.providers(provider_id);

ALTER TABLE ONLY office.price_checks
    ADD CONSTRAINT price_checks_version_id_fkey FOREIGN KEY (version_id) REFERENCES office.price_list_versions(version_id);

ALTER TABLE ONLY office.price_findings
    ADD CONSTRAINT price_findings_check_id_fkey FOREIGN KEY (check_id) REFERENCES office.price_checks(check_id);

ALTER TABLE ONLY office.price_list_versions
    ADD CONSTRAINT price_list_versions_price_list_id_kind_fkey FOREIGN KEY (price_list_id, kind) REFERENCES office.price_lists(price_list_id, kind);

ALTER TABLE ONLY office.price_list_versions
    ADD CONSTRAINT price_list_versions_provider_id_fkey FOREIGN KEY (provider_id) REFERENCES office.providers(provider_id);

ALTER TABLE ONLY office.price_list_versions
    ADD CONSTRAINT price_list_versions_restores_fkey FOREIGN KEY (restores) REFERENCES office.price_list_versions(version_id);

ALTER TABLE ONLY office.resubmissions
    ADD CONSTRAINT resubmissions_source_partition_source_offset_fkey FOREIGN KEY (source_partition, source_offset) REFERENCES facts.rejected(source_partition, source_offset);

ALTER TABLE ONLY office.subscriber_history
    ADD CONSTRAINT subscriber_history_subscriber_id_fkey FOREIGN KEY (subscriber_id) REFERENCES office.subscribers(subscriber_id);

ALTER TABLE ONLY office.subscribers
    ADD CONSTRAINT subscribers_account_id_fkey FOREIGN KEY (account_id) REFERENCES office.accounts(account_id);

ALTER TABLE ONLY office.subscribers
    ADD CONSTRAINT subscribers_number_fkey FOREIGN KEY (number) REFERENCES office.numbers(number);

ALTER TABLE ONLY office.tariff_plan_lists
    ADD CONSTRAINT tariff_plan_lists_price_list_id_fkey FOREIGN KEY (price_list_id) REFERENCES office.price_lists(price_list_id);

ALTER TABLE ONLY office.tariff_plan_lists
    ADD CONSTRAINT tariff_plan_lists_tariff_plan_id_fkey FOREIGN KEY (tariff_plan_id) REFERENCES office.tariff_plans(tariff_plan_id);

GRANT USAGE ON SCHEMA access TO tollgate_app;

GRANT USAGE ON SCHEMA books TO tollgate_app;
GRANT USAGE ON SCHEMA books TO tollgate_projector;
GRANT USAGE ON SCHEMA books TO tollgate_relay;
GRANT USAGE ON SCHEMA books TO tollgate_readonly;

GRANT USAGE ON SCHEMA facts TO tollgate_app;
GRANT USAGE ON SCHEMA facts TO tollgate_projector;
GRANT USAGE ON SCHEMA facts TO tollgate_relay;
GRANT USAGE ON SCHEMA facts TO tollgate_readonly;

GRANT USAGE ON SCHEMA office TO tollgate_app;
GRANT USAGE ON SCHEMA office TO tollgate_projector;
GRANT USAGE ON SCHEMA office TO tollgate_relay;
GRANT USAGE ON SCHEMA office TO tollgate_readonly;

GRANT USAGE ON SCHEMA plumbing TO tollgate_app;
GRANT USAGE ON SCHEMA plumbing TO tollgate_projector;
GRANT USAGE ON SCHEMA plumbing TO tollgate_relay;
GRANT USAGE ON SCHEMA plumbing TO tollgate_readonly;

REVOKE ALL ON FUNCTION books.book_posting() FROM PUBLIC;

GRANT SELECT,INSERT,DELETE ON TABLE books.rerating_items TO tollgate_app;
GRANT SELECT ON TABLE books.rerating_items TO tollgate_projector;
GRANT SELECT ON TABLE books.rerating_items TO tollgate_relay;
GRANT SELECT ON TABLE books.rerating_items TO tollgate_readonly;

REVOKE ALL ON FUNCTION books.ensure_month(month date) FROM PUBLIC;
GRANT ALL ON FUNCTION books.ensure_month(month date) TO tollgate_app;
GRANT ALL ON FUNCTION books.ensure_month(month date) TO tollgate_projector;

REVOKE ALL ON FUNCTION facts.ensure_month(month date) FROM PUBLIC;
GRANT ALL ON FUNCTION facts.ensure_month(month date) TO tollgate_app;
GRANT ALL ON FUNCTION facts.ensure_month(month date) TO tollgate_projector;

REVOKE ALL ON FUNCTION facts.forget_month(partition text) FROM PUBLIC;
GRANT ALL ON FUNCTION facts.forget_month(partition text) TO tollgate_app;

GRANT ALL ON FUNCTION facts.old_months(before date) TO tollgate_app;

GRANT SELECT ON TABLE office.locks TO tollgate_app;
GRANT SELECT ON TABLE office.locks TO tollgate_projector;
GRANT SELECT ON TABLE office.locks TO tollgate_relay;
GRANT SELECT ON TABLE office.locks TO tollgate_readonly;

REVOKE ALL ON FUNCTION office.change_lock(lock_id text, revision integer, kind text, digits text, account_id text, provider_id text, reason text, ends_at timestamp with time zone, actor text, acting_as text, why text, at timestamp with time zone) FROM PUBLIC;
GRANT ALL ON FUNCTION office.change_lock(lock_id text, revision integer, kind text, digits text, account_id text, provider_id text, reason text, ends_at timestamp with time zone, actor text, acting_as text, why text, at timestamp with time zone) TO tollgate_app;

REVOKE ALL ON FUNCTION office.check_lock_is_new(but text, kind text, digits text, account_id text, provider_id text) FROM PUBLIC;

REVOKE ALL ON FUNCTION office.check_lock_rights(actor text, acting_as text, author text) FROM PUBLIC;

REVOKE ALL ON FUNCTION office.end_locks(actor text, why text, at timestamp with time zone) FROM PUBLIC;
GRANT ALL ON FUNCTION office.end_locks(actor text, why text, at timestamp with time zone) TO tollgate_app;
GRANT ALL ON FUNCTION office.end_locks(actor text, why text, at timestamp with time zone) TO tollgate_relay;

REVOKE ALL ON FUNCTION office.guard_number_request() FROM PUBLIC;

REVOKE ALL ON FUNCTION office.guard_number_way() FROM PUBLIC;

REVOKE ALL ON FUNCTION office.guard_subscriber() FROM PUBLIC;

REVOKE ALL ON FUNCTION office.lift_lock(lock_id text, revision integer, actor text, acting_as text, why text, at timestamp with time zone) FROM PUBLIC;
GRANT ALL ON FUNCTION office.lift_lock(lock_id text, revision integer, actor text, acting_as text, why text, at timestamp with time zone) TO tollgate_app;

REVOKE ALL ON FUNCTION office.lock_in_force(lock_id text, revision integer) FROM PUBLIC;

REVOKE ALL ON FUNCTION office.set_lock(lock_id text, kind text, digits text, account_id text, provider_id text, reason text, ends_at timestamp with time zone, actor text, acting_as text, at timestamp with time zone) FROM PUBLIC;
GRANT ALL ON FUNCTION office.set_lock(lock_id text, kind text, digits text, account_id text, provider_id text, reason text, ends_at timestamp with time zone, actor text, acting_as text, at timestamp with time zone) TO tollgate_app;

REVOKE ALL ON FUNCTION office.write_subscriber_history() FROM PUBLIC;

GRANT SELECT,INSERT ON TABLE plumbing.audit TO tollgate_app;
GRANT SELECT ON TABLE plumbing.audit TO tollgate_projector;
GRANT SELECT,INSERT ON TABLE plumbing.audit TO tollgate_relay;
GRANT SELECT ON TABLE plumbing.audit TO tollgate_readonly;

GRANT SELECT,INSERT,UPDATE ON TABLE access.api_keys TO tollgate_app;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE access.failed_logins TO tollgate_app;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE access.sessions TO tollgate_app;

GRANT SELECT,INSERT,UPDATE ON TABLE access.users TO tollgate_app;

GRANT SELECT ON TABLE books.accounts TO tollgate_app;
GRANT SELECT,INSERT ON TABLE books.accounts TO tollgate_projector;
GRANT SELECT ON TABLE books.accounts TO tollgate_relay;
GRANT SELECT ON TABLE books.accounts TO tollgate_readonly;

GRANT SELECT,INSERT,DELETE ON TABLE books.rerating_accounts TO tollgate_app;
GRANT SELECT ON TABLE books.rerating_accounts TO tollgate_projector;
GRANT SELECT ON TABLE books.rerating_accounts TO tollgate_relay;
GRANT SELECT ON TABLE books.rerating_accounts TO tollgate_readonly;

GRANT UPDATE(state) ON TABLE books.rerating_accounts TO tollgate_app;

GRANT UPDATE(posted_seq) ON TABLE books.rerating_accounts TO tollgate_app;

GRANT UPDATE(posted_at) ON TABLE books.rerating_accounts TO tollgate_app;

GRANT UPDATE(command_id) ON TABLE books.rerating_accounts TO tollgate_app;

GRANT UPDATE(tries) ON TABLE books.rerating_accounts TO tollgate_app;

GRANT UPDATE(rolled_back_at) ON TABLE books.rerating_accounts TO tollgate_app;

GRANT UPDATE(back_command_id) ON TABLE books.rerating_accounts TO tollgate_app;

GRANT USAGE ON SEQUENCE books.rerating_posted TO tollgate_app;

GRANT SELECT,INSERT ON TABLE books.rerating_postings TO tollgate_app;
GRANT SELECT ON TABLE books.rerating_postings TO tollgate_projector;
GRANT SELECT ON TABLE books.rerating_postings TO tollgate_relay;
GRANT SELECT ON TABLE books.rerating_postings TO tollgate_readonly;

GRANT SELECT,INSERT ON TABLE books.reratings TO tollgate_app;
GRANT SELECT ON TABLE books.reratings TO tollgate_projector;
GRANT SELECT ON TABLE books.reratings TO tollgate_relay;
GRANT SELECT ON TABLE books.reratings TO tollgate_readonly;

GRANT UPDATE(state) ON TABLE books.reratings TO tollgate_app;

GRANT UPDATE(previewed_at) ON TABLE books.reratings TO tollgate_app;

GRANT UPDATE(previewed_by) ON TABLE books.reratings TO tollgate_app;

GRANT UPDATE(approved_at) ON TABLE books.reratings TO tollgate_app;

GRANT UPDATE(approved_by) ON TABLE books.reratings TO tollgate_app;

GRANT UPDATE(ordered_at) ON TABLE books.reratings TO tollgate_app;

GRANT UPDATE(ordered_by) ON TABLE books.reratings TO tollgate_app;

GRANT UPDATE(posted_at) ON TABLE books.reratings TO tollgate_app;

GRANT UPDATE(back_at) ON TABLE books.reratings TO tollgate_app;

GRANT UPDATE(back_by) ON TABLE books.reratings TO tollgate_app;

GRANT UPDATE(rolled_back_at) ON TABLE books.reratings TO tollgate_app;

GRANT UPDATE(cancelled_at) ON TABLE books.reratings TO tollgate_app;

GRANT UPDATE(cancelled_by) ON TABLE books.reratings TO tollgate_app;

GRANT UPDATE(fingerprint) ON TABLE books.reratings TO tollgate_app;

GRANT UPDATE(summary) ON TABLE books.reratings TO tollgate_app;

GRANT UPDATE(wanted) ON TABLE books.reratings TO tollgate_app;

GRANT UPDATE(wanted_by) ON TABLE books.reratings TO tollgate_app;

GRANT UPDATE(worker) ON TABLE books.reratings TO tollgate_app;

GRANT UPDATE(stage) ON TABLE books.reratings TO tollgate_app;

GRANT UPDATE(done) ON TABLE books.reratings TO tollgate_app;

GRANT UPDATE(total) ON TABLE books.reratings TO tollgate_app;

GRANT UPDATE(beat_at) ON TABLE books.reratings TO tollgate_app;

GRANT UPDATE(failure) ON TABLE books.reratings TO tollgate_app;

GRANT SELECT ON TABLE books.transfers TO tollgate_app;
GRANT SELECT,INSERT ON TABLE books.transfers TO tollgate_projector;
GRANT SELECT ON TABLE books.transfers TO tollgate_relay;
GRANT SELECT ON TABLE books.transfers TO tollgate_readonly;

GRANT SELECT ON TABLE facts.attempts TO tollgate_app;
GRANT SELECT,INSERT ON TABLE facts.attempts TO tollgate_projector;
GRANT SELECT ON TABLE facts.attempts TO tollgate_relay;
GRANT SELECT ON TABLE facts.attempts TO tollgate_readonly;

GRANT SELECT ON TABLE facts.balances TO tollgate_app;
GRANT SELECT,INSERT,UPDATE ON TABLE facts.balances TO tollgate_projector;
GRANT SELECT ON TABLE facts.balances TO tollgate_relay;
GRANT SELECT ON TABLE facts.balances TO tollgate_readonly;

GRANT SELECT ON TABLE facts.decisions TO tollgate_app;
GRANT SELECT,INSERT ON TABLE facts.decisions TO tollgate_projector;
GRANT SELECT ON TABLE facts.decisions TO tollgate_relay;
GRANT SELECT ON TABLE facts.decisions TO tollgate_readonly;

GRANT SELECT ON TABLE facts.gaps TO tollgate_app;
GRANT SELECT,INSERT ON TABLE facts.gaps TO tollgate_projector;
GRANT SELECT ON TABLE facts.gaps TO tollgate_relay;
GRANT SELECT ON TABLE facts.gaps TO tollgate_readonly;

GRANT SELECT ON TABLE facts.known TO tollgate_app;
GRANT SELECT ON TABLE facts.known TO tollgate_readonly;
GRANT SELECT,INSERT,UPDATE ON TABLE facts.known TO tollgate_projector;

GRANT SELECT ON TABLE facts.movements TO tollgate_app;
GRANT SELECT,INSERT ON TABLE facts.movements TO tollgate_projector;
GRANT SELECT ON TABLE facts.movements TO tollgate_relay;
GRANT SELECT ON TABLE facts.movements TO tollgate_readonly;

GRANT SELECT ON TABLE facts.ncv TO tollgate_app;
GRANT SELECT,INSERT,UPDATE ON TABLE facts.ncv TO tollgate_projector;
GRANT SELECT ON TABLE facts.ncv TO tollgate_relay;
GRANT SELECT ON TABLE facts.ncv TO tollgate_readonly;

GRANT SELECT ON TABLE facts.notices TO tollgate_app;
GRANT SELECT,INSERT ON TABLE facts.notices TO tollgate_projector;
GRANT SELECT ON TABLE facts.notices TO tollgate_relay;
GRANT SELECT ON TABLE facts.notices TO tollgate_readonly;

GRANT SELECT ON TABLE facts.offsets TO tollgate_app;
GRANT SELECT,INSERT,UPDATE ON TABLE facts.offsets TO tollgate_projector;
GRANT SELECT ON TABLE facts.offsets TO tollgate_relay;
GRANT SELECT ON TABLE facts.offsets TO tollgate_readonly;

GRANT SELECT ON TABLE facts.rated_cdrs TO tollgate_app;
GRANT SELECT,INSERT ON TABLE facts.rated_cdrs TO tollgate_projector;
GRANT SELECT ON TABLE facts.rated_cdrs TO tollgate_relay;
GRANT SELECT ON TABLE facts.rated_cdrs TO tollgate_readonly;

GRANT SELECT ON TABLE facts.rejected TO tollgate_app;
GRANT SELECT,INSERT ON TABLE facts.rejected TO tollgate_projector;
GRANT SELECT ON TABLE facts.rejected TO tollgate_relay;
GRANT SELECT ON TABLE facts.rejected TO tollgate_readonly;

GRANT UPDATE(resubmitted_at) ON TABLE facts.rejected TO tollgate_app;

GRANT UPDATE(resubmitted_by) ON TABLE facts.rejected TO tollgate_app;

GRANT UPDATE(set_aside_at) ON TABLE facts.rejected TO tollgate_app;

GRANT UPDATE(set_aside_by) ON TABLE facts.rejected TO tollgate_app;

GRANT UPDATE(set_aside_why) ON TABLE facts.rejected TO tollgate_app;

GRANT SELECT ON TABLE facts.unprojected TO tollgate_app;
GRANT SELECT,INSERT,DELETE ON TABLE facts.unprojected TO tollgate_projector;
GRANT SELECT ON TABLE facts.unprojected TO tollgate_relay;
GRANT SELECT ON TABLE facts.unprojected TO tollgate_readonly;

GRANT SELECT,INSERT,UPDATE ON TABLE office.account_blocks TO tollgate_app;
GRANT SELECT ON TABLE office.account_blocks TO tollgate_projector;
GRANT SELECT ON TABLE office.account_blocks TO tollgate_relay;
GRANT SELECT ON TABLE office.account_blocks TO tollgate_readonly;

GRANT SELECT,INSERT,UPDATE ON TABLE office.account_services TO tollgate_app;
GRANT SELECT ON TABLE office.account_services TO tollgate_projector;
GRANT SELECT ON TABLE office.account_services TO tollgate_relay;
GRANT SELECT ON TABLE office.account_services TO tollgate_readonly;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE office.account_tags TO tollgate_app;
GRANT SELECT ON TABLE office.account_tags TO tollgate_projector;
GRANT SELECT ON TABLE office.account_tags TO tollgate_relay;
GRANT SELECT ON TABLE office.account_tags TO tollgate_readonly;

GRANT SELECT,INSERT,UPDATE ON TABLE office.accounts TO tollgate_app;
GRANT SELECT ON TABLE office.accounts TO tollgate_projector;
GRANT SELECT ON TABLE office.accounts TO tollgate_relay;
GRANT SELECT ON TABLE office.accounts TO tollgate_readonly;

GRANT SELECT,INSERT,UPDATE ON TABLE office.bands TO tollgate_app;
GRANT SELECT ON TABLE office.bands TO tollgate_projector;
GRANT SELECT ON TABLE office.bands TO tollgate_relay;
GRANT SELECT ON TABLE office.bands TO tollgate_readonly;

GRANT SELECT,INSERT,UPDATE ON TABLE office.business_clock TO tollgate_app;
GRANT SELECT ON TABLE office.business_clock TO tollgate_projector;
GRANT SELECT ON TABLE office.business_clock TO tollgate_relay;
GRANT SELECT ON TABLE office.business_clock TO tollgate_readonly;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE office.calendar TO tollgate_app;
GRANT SELECT ON TABLE office.calendar TO tollgate_projector;
GRANT SELECT ON TABLE office.calendar TO tollgate_relay;
GRANT SELECT ON TABLE office.calendar TO tollgate_readonly;

GRANT SELECT,UPDATE ON TABLE office.calendar_loaded TO tollgate_app;
GRANT SELECT ON TABLE office.calendar_loaded TO tollgate_projector;
GRANT SELECT ON TABLE office.calendar_loaded TO tollgate_relay;
GRANT SELECT ON TABLE office.calendar_loaded TO tollgate_readonly;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE office.client_tags TO tollgate_app;
GRANT SELECT ON TABLE office.client_tags TO tollgate_projector;
GRANT SELECT ON TABLE office.client_tags TO tollgate_relay;
GRANT SELECT ON TABLE office.client_tags TO tollgate_readonly;

GRANT SELECT,INSERT,UPDATE ON TABLE office.clients TO tollgate_app;
GRANT SELECT ON TABLE office.clients TO tollgate_projector;
GRANT SELECT ON TABLE office.clients TO tollgate_relay;
GRANT SELECT ON TABLE office.clients TO tollgate_readonly;

GRANT SELECT ON TABLE office.colleagues TO tollgate_app;
GRANT SELECT ON TABLE office.colleagues TO tollgate_readonly;

GRANT SELECT,INSERT,UPDATE ON TABLE office.commands TO tollgate_app;
GRANT SELECT ON TABLE office.commands TO tollgate_projector;
GRANT SELECT ON TABLE office.commands TO tollgate_relay;
GRANT SELECT ON TABLE office.commands TO tollgate_readonly;

GRANT UPDATE(state) ON TABLE office.commands TO tollgate_projector;

GRANT UPDATE(state_at) ON TABLE office.commands TO tollgate_projector;

GRANT UPDATE(rejected_why) ON TABLE office.commands TO tollgate_projector;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE office.direct_managers TO tollgate_app;
GRANT SELECT ON TABLE office.direct_managers TO tollgate_projector;
GRANT SELECT ON TABLE office.direct_managers TO tollgate_relay;
GRANT SELECT ON TABLE office.direct_managers TO tollgate_readonly;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE office.discounts TO tollgate_app;
GRANT SELECT ON TABLE office.discounts TO tollgate_projector;
GRANT SELECT ON TABLE office.discounts TO tollgate_relay;
GRANT SELECT ON TABLE office.discounts TO tollgate_readonly;

GRANT SELECT,INSERT ON TABLE office.letter_attachments TO tollgate_app;
GRANT SELECT ON TABLE office.letter_attachments TO tollgate_projector;
GRANT SELECT ON TABLE office.letter_attachments TO tollgate_relay;
GRANT SELECT ON TABLE office.letter_attachments TO tollgate_readonly;

GRANT SELECT,INSERT,UPDATE ON TABLE office.letters TO tollgate_app;
GRANT SELECT ON TABLE office.letters TO tollgate_projector;
GRANT SELECT ON TABLE office.letters TO tollgate_relay;
GRANT SELECT ON TABLE office.letters TO tollgate_readonly;

GRANT SELECT ON TABLE office.lock_history TO tollgate_app;
GRANT SELECT ON TABLE office.lock_history TO tollgate_projector;
GRANT SELECT ON TABLE office.lock_history TO tollgate_relay;
GRANT SELECT ON TABLE office.lock_history TO tollgate_readonly;

GRANT SELECT,INSERT ON TABLE office.ncv_days TO tollgate_app;
GRANT SELECT ON TABLE office.ncv_days TO tollgate_projector;
GRANT SELECT ON TABLE office.ncv_days TO tollgate_relay;
GRANT SELECT ON TABLE office.ncv_days TO tollgate_readonly;

GRANT SELECT,INSERT ON TABLE office.nightly_orders TO tollgate_app;
GRANT SELECT ON TABLE office.nightly_orders TO tollgate_projector;
GRANT SELECT ON TABLE office.nightly_orders TO tollgate_relay;
GRANT SELECT ON TABLE office.nightly_orders TO tollgate_readonly;

GRANT UPDATE(state) ON TABLE office.nightly_orders TO tollgate_app;

GRANT UPDATE(ended_at) ON TABLE office.nightly_orders TO tollgate_app;

GRANT UPDATE(outcome) ON TABLE office.nightly_orders TO tollgate_app;

GRANT SELECT,INSERT,UPDATE ON TABLE office.nightly_runs TO tollgate_app;
GRANT SELECT ON TABLE office.nightly_runs TO tollgate_projector;
GRANT SELECT ON TABLE office.nightly_runs TO tollgate_relay;
GRANT SELECT ON TABLE office.nightly_runs TO tollgate_readonly;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE office.number_groups TO tollgate_app;
GRANT SELECT ON TABLE office.number_groups TO tollgate_projector;
GRANT SELECT ON TABLE office.number_groups TO tollgate_relay;
GRANT SELECT ON TABLE office.number_groups TO tollgate_readonly;

GRANT SELECT ON TABLE office.number_history TO tollgate_app;
GRANT SELECT ON TABLE office.number_history TO tollgate_projector;
GRANT SELECT ON TABLE office.number_history TO tollgate_relay;
GRANT SELECT ON TABLE office.number_history TO tollgate_readonly;

GRANT SELECT,INSERT,UPDATE ON TABLE office.number_requests TO tollgate_app;
GRANT SELECT ON TABLE office.number_requests TO tollgate_projector;
GRANT SELECT ON TABLE office.number_requests TO tollgate_relay;
GRANT SELECT ON TABLE office.number_requests TO tollgate_readonly;

GRANT SELECT,INSERT,UPDATE ON TABLE office.numbers TO tollgate_app;
GRANT SELECT ON TABLE office.numbers TO tollgate_projector;
GRANT SELECT ON TABLE office.numbers TO tollgate_relay;
GRANT SELECT ON TABLE office.numbers TO tollgate_readonly;

GRANT SELECT ON TABLE office.payments TO tollgate_app;
GRANT SELECT ON TABLE office.payments TO tollgate_projector;
GRANT SELECT ON TABLE office.payments TO tollgate_relay;
GRANT SELECT ON TABLE office.payments TO tollgate_readonly;

GRANT SELECT,INSERT ON TABLE office.price_checks TO tollgate_app;
GRANT SELECT ON TABLE office.price_checks TO tollgate_projector;
GRANT SELECT ON TABLE office.price_checks TO tollgate_relay;
GRANT SELECT ON TABLE office.price_checks TO tollgate_readonly;

GRANT UPDATE(state) ON TABLE office.price_checks TO tollgate_app;

GRANT UPDATE(stage) ON TABLE office.price_checks TO tollgate_app;

GRANT UPDATE(done) ON TABLE office.price_checks TO tollgate_app;

GRANT UPDATE(total) ON TABLE office.price_checks TO tollgate_app;

GRANT UPDATE(beat_at) ON TABLE office.price_checks TO tollgate_app;

GRANT UPDATE(ended_at) ON TABLE office.price_checks TO tollgate_app;

GRANT UPDATE(result) ON TABLE office.price_checks TO tollgate_app;

GRANT UPDATE(failure) ON TABLE office.price_checks TO tollgate_app;

GRANT SELECT,INSERT ON TABLE office.price_findings TO tollgate_app;
GRANT SELECT ON TABLE office.price_findings TO tollgate_projector;
GRANT SELECT ON TABLE office.price_findings TO tollgate_relay;
GRANT SELECT ON TABLE office.price_findings TO tollgate_readonly;

GRANT SELECT,INSERT,UPDATE ON TABLE office.price_list_versions TO tollgate_app;
GRANT SELECT ON TABLE office.price_list_versions TO tollgate_projector;
GRANT SELECT ON TABLE office.price_list_versions TO tollgate_relay;
GRANT SELECT ON TABLE office.price_list_versions TO tollgate_readonly;

GRANT SELECT,INSERT,UPDATE ON TABLE office.price_lists TO tollgate_app;
GRANT SELECT ON TABLE office.price_lists TO tollgate_projector;
GRANT SELECT ON TABLE office.price_lists TO tollgate_relay;
GRANT SELECT ON TABLE office.price_lists TO tollgate_readonly;

GRANT SELECT,INSERT,DELETE ON TABLE office.prices TO tollgate_app;
GRANT SELECT ON TABLE office.prices TO tollgate_projector;
GRANT SELECT ON TABLE office.prices TO tollgate_relay;
GRANT SELECT ON TABLE office.prices TO tollgate_readonly;

GRANT SELECT,INSERT,UPDATE ON TABLE office.providers TO tollgate_app;
GRANT SELECT ON TABLE office.providers TO tollgate_projector;
GRANT SELECT ON TABLE office.providers TO tollgate_relay;
GRANT SELECT ON TABLE office.providers TO tollgate_readonly;

GRANT SELECT,INSERT ON TABLE office.resubmissions TO tollgate_app;
GRANT SELECT ON TABLE office.resubmissions TO tollgate_projector;
GRANT SELECT ON TABLE office.resubmissions TO tollgate_relay;
GRANT SELECT ON TABLE office.resubmissions TO tollgate_readonly;

GRANT SELECT ON TABLE office.subscriber_history TO tollgate_app;
GRANT SELECT ON TABLE office.subscriber_history TO tollgate_projector;
GRANT SELECT ON TABLE office.subscriber_history TO tollgate_relay;
GRANT SELECT ON TABLE office.subscriber_history TO tollgate_readonly;

GRANT SELECT,INSERT,UPDATE ON TABLE office.subscribers TO tollgate_app;
GRANT SELECT ON TABLE office.subscribers TO tollgate_projector;
GRANT SELECT ON TABLE office.subscribers TO tollgate_relay;
GRANT SELECT ON TABLE office.subscribers TO tollgate_readonly;

GRANT SELECT,INSERT,UPDATE ON TABLE office.tags TO tollgate_app;
GRANT SELECT ON TABLE office.tags TO tollgate_projector;
GRANT SELECT ON TABLE office.tags TO tollgate_relay;
GRANT SELECT ON TABLE office.tags TO tollgate_readonly;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE office.tariff_plan_lists TO tollgate_app;
GRANT SELECT ON TABLE office.tariff_plan_lists TO tollgate_projector;
GRANT SELECT ON TABLE office.tariff_plan_lists TO tollgate_relay;
GRANT SELECT ON TABLE office.tariff_plan_lists TO tollgate_readonly;

GRANT SELECT,INSERT,UPDATE ON TABLE office.tariff_plans TO tollgate_app;
GRANT SELECT ON TABLE office.tariff_plans TO tollgate_projector;
GRANT SELECT ON TABLE office.tariff_plans TO tollgate_relay;
GRANT SELECT ON TABLE office.tariff_plans TO tollgate_readonly;

GRANT SELECT ON TABLE office.top_ups TO tollgate_app;
GRANT SELECT ON TABLE office.top_ups TO tollgate_projector;
GRANT SELECT ON TABLE office.top_ups TO tollgate_relay;
GRANT SELECT ON TABLE office.top_ups TO tollgate_readonly;

GRANT SELECT ON TABLE office.versions_seen TO tollgate_app;
GRANT SELECT ON TABLE office.versions_seen TO tollgate_projector;
GRANT SELECT ON TABLE office.versions_seen TO tollgate_relay;
GRANT SELECT ON TABLE office.versions_seen TO tollgate_readonly;

GRANT SELECT ON TABLE office.write_offs TO tollgate_app;
GRANT SELECT ON TABLE office.write_offs TO tollgate_projector;
GRANT SELECT ON TABLE office.write_offs TO tollgate_relay;
GRANT SELECT ON TABLE office.write_offs TO tollgate_readonly;

GRANT SELECT ON TABLE plumbing.audit_head TO tollgate_app;
GRANT SELECT ON TABLE plumbing.audit_head TO tollgate_projector;
GRANT SELECT ON TABLE plumbing.audit_head TO tollgate_relay;
GRANT SELECT ON TABLE plumbing.audit_head TO tollgate_readonly;

GRANT USAGE ON SEQUENCE plumbing.change_ids TO tollgate_app;
GRANT USAGE ON SEQUENCE plumbing.change_ids TO tollgate_relay;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE plumbing.idempotency_keys TO tollgate_app;

GRANT SELECT ON TABLE plumbing.migrations TO tollgate_app;
GRANT SELECT ON TABLE plumbing.migrations TO tollgate_projector;
GRANT SELECT ON TABLE plumbing.migrations TO tollgate_relay;
GRANT SELECT ON TABLE plumbing.migrations TO tollgate_readonly;

GRANT SELECT,INSERT ON TABLE plumbing.outbox TO tollgate_app;
GRANT SELECT,INSERT ON TABLE plumbing.outbox TO tollgate_relay;
GRANT SELECT ON TABLE plumbing.outbox TO tollgate_projector;
GRANT SELECT ON TABLE plumbing.outbox TO tollgate_readonly;

GRANT UPDATE(reference_version) ON TABLE plumbing.outbox TO tollgate_relay;

GRANT UPDATE(published_at) ON TABLE plumbing.outbox TO tollgate_relay;

GRANT SELECT ON TABLE plumbing.outbox_head TO tollgate_app;
GRANT SELECT ON TABLE plumbing.outbox_head TO tollgate_projector;
GRANT SELECT ON TABLE plumbing.outbox_head TO tollgate_relay;
GRANT SELECT ON TABLE plumbing.outbox_head TO tollgate_readonly;

COMMIT;
