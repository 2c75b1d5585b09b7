-- The office: whom the operator serves, at which prices, by which rules. What the engine decides by is published from
-- here; what it did is in other schemas.
--
-- Money is in micro-units, moments are UTC, days are civil days of the business time zone. Ids are the outside's.
-- What calls were priced by is never deleted: `removed_at` says since when it is gone.

CREATE SCHEMA office;
COMMENT ON SCHEMA office IS 'Clients, accounts, prices, locks, numbers, orders to the engine';
GRANT USAGE ON SCHEMA office TO tollgate_app, tollgate_projector, tollgate_relay, tollgate_readonly;

CREATE DOMAIN office.id AS text COLLATE "C" CHECK (length(VALUE) BETWEEN 1 AND 64);
COMMENT ON DOMAIN office.id IS 'An id of the outside: 1 to 64 characters, in the order of their code points';
CREATE DOMAIN office.digits AS text COLLATE "C" CHECK (VALUE ~ '^[0-9]{1,15}$');
COMMENT ON DOMAIN office.digits IS 'A number or mask of E.164, without +';
CREATE DOMAIN office.words AS text CHECK (length(VALUE) BETWEEN 1 AND 1000);
COMMENT ON DOMAIN office.words IS 'Words for people';
CREATE DOMAIN office.currency AS text COLLATE "C" CHECK (VALUE ~ '^[A-Z]{3}$');
COMMENT ON DOMAIN office.currency IS 'ISO 4217';

-- Clients ---------------------------------------------------------------------------------------------------------------

CREATE TABLE office.clients (
    client_id office.id PRIMARY KEY,
    kind text CHECK (kind IN ('company', 'entrepreneur', 'person')),
    name office.words NOT NULL,
    surname text,
    given_name text,
    patronymic text,
    city text,
    inn text COLLATE "C" CHECK (inn ~ '^([0-9]{10}|[0-9]{12})$'),
    kpp text COLLATE "C" CHECK (kpp ~ '^[0-9]{9}$'),
    legal_address text,
    phones text[] COLLATE "C" NOT NULL DEFAULT '{}',
    emails text[] NOT NULL DEFAULT '{}',
    manager text,
    seller text,
    region text,
    comment text,
    created_at timestamptz NOT NULL,
    created_by text NOT NULL,
    search_words text[] COLLATE "C" NOT NULL DEFAULT '{}'
);
COMMENT ON TABLE office.clients IS 'Counterparties: companies and people (§1.1)';
COMMENT ON COLUMN office.clients.kind IS 'Null: nothing is known of them but their accounts';
COMMENT ON COLUMN office.clients.name IS 'The organisation''s name, or the full name; the id where nothing else is known';
COMMENT ON COLUMN office.clients.city IS 'Tells namesakes apart, with given name and patronymic (§1.1)';
COMMENT ON COLUMN office.clients.phones IS 'To reach them by; the numbers that they use are in office.numbers';
COMMENT ON COLUMN office.clients.manager IS 'Who is responsible (§3.3)';
COMMENT ON COLUMN office.clients.seller IS 'The agent who brought them';
COMMENT ON COLUMN office.clients.search_words IS 'Words of the name as they are searched: small letters, ё as е, without quotes (§1.1, D47)';
CREATE INDEX clients_inn ON office.clients (inn);
CREATE INDEX clients_manager ON office.clients (manager);
CREATE INDEX clients_phones ON office.clients USING gin (phones);

CREATE TABLE office.tags (
    tag office.id PRIMARY KEY,
    name office.words NOT NULL,
    created_at timestamptz NOT NULL,
    created_by text NOT NULL
);
COMMENT ON TABLE office.tags IS 'Marks that the office puts on clients and accounts';

CREATE TABLE office.client_tags (
    client_id office.id NOT NULL REFERENCES office.clients,
    tag office.id NOT NULL REFERENCES office.tags,
    since timestamptz NOT NULL,
    author text NOT NULL,
    PRIMARY KEY (client_id, tag)
);
CREATE INDEX client_tags_tag ON office.client_tags (tag);

-- Providers and prices --------------------------------------------------------------------------------------------------

CREATE TABLE office.providers (
    provider_id office.id PRIMARY KEY,
    name office.words NOT NULL,
    priority integer NOT NULL DEFAULT 0,
    place office.id,
    pdgi boolean NOT NULL DEFAULT false,
    own boolean NOT NULL DEFAULT false,
    removed_at timestamptz
);
COMMENT ON TABLE office.providers IS 'Carriers that calls leave through';
COMMENT ON COLUMN office.providers.priority IS 'The lower goes first among equally cheap ones';
COMMENT ON COLUMN office.providers.pdgi IS 'A provider of ПДГИ (§2.3)';
COMMENT ON COLUMN office.providers.own IS 'The operator itself';

CREATE TABLE office.bands (
    band_id office.id PRIMARY KEY,
    weekdays smallint[] NOT NULL DEFAULT '{}' CHECK (weekdays <@ '{1,2,3,4,5,6,7}'),
    start_minute smallint NOT NULL DEFAULT 0 CHECK (start_minute BETWEEN 0 AND 1439),
    end_minute smallint NOT NULL DEFAULT 1440 CHECK (end_minute BETWEEN 0 AND 1440),
    dates text[] COLLATE "C" NOT NULL DEFAULT '{}',
    time_zone text NOT NULL,
    weight integer NOT NULL DEFAULT 0,
    removed_at timestamptz
);
COMMENT ON TABLE office.bands IS 'Parts of the week or of chosen dates that prices are limited to';
COMMENT ON COLUMN office.bands.weekdays IS '1 is Monday; empty: any';
COMMENT ON COLUMN office.bands.dates IS 'YYYY-MM-DD, or every year --MM-DD; empty: any';

CREATE TABLE office.price_lists (
    price_list_id office.id PRIMARY KEY,
    kind text NOT NULL CHECK (kind IN ('retail', 'wholesale')),
    removed_at timestamptz,
    UNIQUE (price_list_id, kind)
);
COMMENT ON TABLE office.price_lists IS 'Price lists; what stands in one is in its versions';

CREATE TABLE office.price_list_versions (
    version_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    price_list_id office.id NOT NULL,
    kind text NOT NULL,
    number integer NOT NULL CHECK (number > 0),
    state text NOT NULL DEFAULT 'staged' CHECK (state IN ('staged', 'published', 'withdrawn', 'discarded')),
    name office.words NOT NULL,
    provider_id office.id REFERENCES office.providers,
    currency office.currency NOT NULL,
    rounding text NOT NULL CHECK (rounding IN ('up', 'half_up', 'down')),
    decimals smallint NOT NULL CHECK (decimals BETWEEN 0 AND 6),
    valid_from timestamptz,
    valid_to timestamptz,
    prices integer NOT NULL DEFAULT 0 CHECK (prices >= 0),
    digest bytea,
    source text,
    created_at timestamptz NOT NULL,
    created_by text NOT NULL,
    in_force_from timestamptz,
    published_at timestamptz,
    published_by text,
    ended_at timestamptz,
    ended_by text,
    ended_why text,
    UNIQUE (price_list_id, number),
    FOREIGN KEY (price_list_id, kind) REFERENCES office.price_lists (price_list_id, kind),
    CONSTRAINT whose_prices CHECK (kind = 'retail' OR provider_id IS NOT NULL),
    CHECK (valid_to > valid_from),
    CONSTRAINT published_has_its_date CHECK (
        (state IN ('staged', 'discarded')) = (in_force_from IS NULL)
        AND (in_force_from IS NULL) = (published_at IS NULL)
        AND (in_force_from IS NULL) = (published_by IS NULL)
    ),
    CONSTRAINT ended_has_its_reason CHECK (
        (state IN ('withdrawn', 'discarded')) = (ended_at IS NOT NULL)
        AND (ended_at IS NULL) = (ended_by IS NULL)
        AND (ended_at IS NULL) = (ended_why IS NULL)
    )
);
COMMENT ON TABLE office.price_list_versions IS 'All that a price list ever said; of the published ones the one with the latest in_force_from that has come is in force';
COMMENT ON COLUMN office.price_list_versions.number IS 'Among the versions of its list';
COMMENT ON COLUMN office.price_list_versions.state IS 'staged: being worked on; published: fixed for ever; withdrawn: was published and counts no more, since it was rolled back or its list was removed; discarded: never was';
COMMENT ON COLUMN office.price_list_versions.provider_id IS 'Wholesale: whose prices they are; retail: for calls through this provider only';
COMMENT ON COLUMN office.price_list_versions.valid_from IS 'The list itself holds from here until just before valid_to, whatever the version';
COMMENT ON COLUMN office.price_list_versions.prices IS 'How many rows it has';
COMMENT ON COLUMN office.price_list_versions.digest IS 'SHA-256 of its rows: equal digests, equal prices';
COMMENT ON COLUMN office.price_list_versions.source IS 'The file that it came from';
CREATE INDEX price_list_versions_in_force ON office.price_list_versions (price_list_id, in_force_from DESC, number DESC)
    WHERE in_force_from IS NOT NULL;
CREATE INDEX price_list_versions_staged ON office.price_list_versions (created_at) WHERE state = 'staged';

CREATE TABLE office.prices (
    version_id bigint NOT NULL,
    prefix text COLLATE "C" NOT NULL CHECK (prefix ~ '^[0-9]{0,15}$'),
    service text COLLATE "C",
    place text COLLATE "C",
    incoming_service text COLLATE "C",
    band_id text COLLATE "C",
    from_second integer NOT NULL CHECK (from_second >= 0),
    connect_fee_micros bigint NOT NULL CHECK (connect_fee_micros >= 0),
    price_micros bigint NOT NULL CHECK (price_micros >= 0),
    per_seconds integer NOT NULL CHECK (per_seconds > 0),
    step_seconds integer NOT NULL CHECK (step_seconds > 0),
    min_charge_micros bigint CHECK (min_charge_micros >= 0),
    max_charge_micros bigint CHECK (max_charge_micros >= 0),
    valid_from timestamptz,
    valid_to timestamptz,
    attempt_fee_micros bigint NOT NULL DEFAULT 0 CHECK (attempt_fee_micros >= 0),
    CHECK (valid_to > valid_from)
);
COMMENT ON TABLE office.prices IS 'Tiers of prices; empty prefix: any number; null service, place, incoming service, band: any';
COMMENT ON COLUMN office.prices.price_micros IS 'For per_seconds, in whole steps of step_seconds, from second from_second of a call on';
COMMENT ON COLUMN office.prices.attempt_fee_micros IS 'For a call that was not answered';
-- Also how prices are found: by list and prefix.
CREATE UNIQUE INDEX prices_tier ON office.prices
    (version_id, prefix, from_second, service, place, incoming_service, band_id, valid_from, valid_to)
    NULLS NOT DISTINCT;
CREATE INDEX prices_band ON office.prices (band_id) WHERE band_id IS NOT NULL;

-- A published version is what calls were priced by: from then on nothing in it changes.
CREATE FUNCTION office.guard_version() RETURNS trigger
LANGUAGE plpgsql SET search_path = '' AS $$
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
CREATE TRIGGER guard_version BEFORE UPDATE OR DELETE ON office.price_list_versions
    FOR EACH ROW EXECUTE FUNCTION office.guard_version();
CREATE TRIGGER versions_stay BEFORE TRUNCATE ON office.price_list_versions
    FOR EACH STATEMENT EXECUTE FUNCTION plumbing.refuse_change();

-- Once for a whole statement, since a list comes with a million rows; it is also the foreign keys of its prices.
CREATE FUNCTION office.guard_prices() RETURNS trigger
LANGUAGE plpgsql SET search_path = '' AS $$
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
CREATE TRIGGER guard_new_prices AFTER INSERT ON office.prices REFERENCING NEW TABLE AS touched
    FOR EACH STATEMENT EXECUTE FUNCTION office.guard_prices();
CREATE TRIGGER guard_gone_prices AFTER DELETE ON office.prices REFERENCING OLD TABLE AS touched
    FOR EACH STATEMENT EXECUTE FUNCTION office.guard_prices();
-- A price of a staged version is taken out and put in anew.
CREATE TRIGGER prices_stay BEFORE UPDATE OR TRUNCATE ON office.prices
    FOR EACH STATEMENT EXECUTE FUNCTION plumbing.refuse_change();

CREATE TABLE office.tariff_plans (
    tariff_plan_id office.id PRIMARY KEY,
    name office.words NOT NULL,
    forbid_loss boolean NOT NULL DEFAULT false,
    removed_at timestamptz
);
COMMENT ON TABLE office.tariff_plans IS 'Which retail lists accounts are charged by';
COMMENT ON COLUMN office.tariff_plans.forbid_loss IS 'Whether a call may not be sold below its cost';

CREATE TABLE office.tariff_plan_lists (
    tariff_plan_id office.id NOT NULL REFERENCES office.tariff_plans,
    price_list_id office.id NOT NULL REFERENCES office.price_lists,
    priority integer NOT NULL DEFAULT 0,
    place smallint NOT NULL,
    PRIMARY KEY (tariff_plan_id, price_list_id)
);
COMMENT ON TABLE office.tariff_plan_lists IS 'The retail lists of a plan';
COMMENT ON COLUMN office.tariff_plan_lists.priority IS 'The lower wins between prefixes of the same length';
COMMENT ON COLUMN office.tariff_plan_lists.place IS 'In the order of the plan';
CREATE INDEX tariff_plan_lists_list ON office.tariff_plan_lists (price_list_id);

-- Accounts --------------------------------------------------------------------------------------------------------------

CREATE TABLE office.accounts (
    account_id office.id PRIMARY KEY,
    client_id office.id NOT NULL REFERENCES office.clients,
    tariff_plan_id office.id NOT NULL REFERENCES office.tariff_plans,
    payment_mode text NOT NULL CHECK (payment_mode IN ('prepaid', 'postpaid')),
    currency office.currency NOT NULL,
    opening_balance_micros bigint NOT NULL DEFAULT 0,
    opening_status text NOT NULL CHECK (opening_status IN ('active', 'blocked', 'closed')),
    credit_limit_micros bigint NOT NULL DEFAULT 0 CHECK (credit_limit_micros >= 0),
    critical_balance_micros bigint,
    place office.id,
    max_concurrent_calls integer CHECK (max_concurrent_calls > 0),
    status text NOT NULL CHECK (status IN ('active', 'blocked', 'closed')),
    manager text,
    comment text,
    created_at timestamptz NOT NULL,
    created_by text NOT NULL
);
COMMENT ON TABLE office.accounts IS 'Personal accounts; they are closed, never removed';
COMMENT ON COLUMN office.accounts.opening_balance_micros IS 'The balance that it began with; commands and calls move it afterwards, in the engine';
COMMENT ON COLUMN office.accounts.opening_status IS 'The status that it began with';
COMMENT ON COLUMN office.accounts.critical_balance_micros IS 'At or below it a notice goes out (§2.4); null: none';
COMMENT ON COLUMN office.accounts.status IS 'As the office ordered it; the engine''s word is in facts';
COMMENT ON COLUMN office.accounts.manager IS 'Who is responsible; null: the client''s manager';
CREATE INDEX accounts_client ON office.accounts (client_id);
CREATE INDEX accounts_plan ON office.accounts (tariff_plan_id);

CREATE FUNCTION office.guard_account() RETURNS trigger
LANGUAGE plpgsql SET search_path = '' AS $$
BEGIN
    IF ROW(NEW.account_id, NEW.currency, NEW.opening_balance_micros, NEW.opening_status)
       IS DISTINCT FROM ROW(OLD.account_id, OLD.currency, OLD.opening_balance_micros, OLD.opening_status) THEN
        RAISE EXCEPTION 'account % keeps its id, currency, opening balance and opening status', OLD.account_id
            USING ERRCODE = 'insufficient_privilege';
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER guard_account BEFORE UPDATE ON office.accounts
    FOR EACH ROW EXECUTE FUNCTION office.guard_account();
CREATE TRIGGER accounts_stay BEFORE DELETE OR TRUNCATE ON office.accounts
    FOR EACH STATEMENT EXECUTE FUNCTION plumbing.refuse_change();

CREATE TABLE office.account_tags (
    account_id office.id NOT NULL REFERENCES office.accounts,
    tag office.id NOT NULL REFERENCES office.tags,
    since timestamptz NOT NULL,
    author text NOT NULL,
    PRIMARY KEY (account_id, tag)
);
CREATE INDEX account_tags_tag ON office.account_tags (tag);

CREATE TABLE office.account_services (
    account_id office.id NOT NULL REFERENCES office.accounts,
    service office.id NOT NULL,
    product office.words,
    connected_at timestamptz NOT NULL,
    connected_by text NOT NULL,
    disconnected_at timestamptz,
    disconnected_by text,
    PRIMARY KEY (account_id, service, connected_at),
    CHECK (disconnected_at > connected_at),
    CHECK ((disconnected_at IS NULL) = (disconnected_by IS NULL))
);
COMMENT ON TABLE office.account_services IS 'Products on an account and the services that they bring (§2.5, §3.3)';
COMMENT ON COLUMN office.account_services.service IS 'As events name it: outgoing, calls_rec, calls_rec_unlim, …';
CREATE UNIQUE INDEX account_services_connected ON office.account_services (account_id, service)
    WHERE disconnected_at IS NULL;

CREATE TABLE office.discounts (
    discount_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    account_id office.id NOT NULL REFERENCES office.accounts,
    service office.id,
    percent_micros integer NOT NULL CHECK (percent_micros BETWEEN 0 AND 100000000),
    valid_from timestamptz,
    valid_to timestamptz,
    UNIQUE NULLS NOT DISTINCT (account_id, service, valid_from),
    CHECK (valid_to > valid_from)
);
COMMENT ON TABLE office.discounts IS 'Per cent off an account''s charges for a service (null: all); those of one service do not overlap';
COMMENT ON COLUMN office.discounts.percent_micros IS 'Millionths of a per cent';

-- Orders to the engine --------------------------------------------------------------------------------------------------

CREATE TABLE office.commands (
    command_id office.id PRIMARY KEY,
    kind text NOT NULL CHECK (kind IN ('payment', 'top_up', 'write_off', 'block', 'unblock', 'close')),
    account_id office.id NOT NULL REFERENCES office.accounts,
    at timestamptz NOT NULL,
    amount_micros bigint,
    reference office.words,
    source text,
    reason office.words,
    reverses office.id REFERENCES office.commands,
    author text NOT NULL,
    ordered_at timestamptz NOT NULL,
    state text NOT NULL DEFAULT 'ordered' CHECK (state IN ('ordered', 'applied', 'rejected')),
    state_at timestamptz,
    rejected_why text,
    CONSTRAINT money_has_its_amount CHECK (
        (kind IN ('payment', 'top_up', 'write_off')) = (amount_micros IS NOT NULL) AND amount_micros <> 0
    ),
    CHECK ((state = 'ordered') = (state_at IS NULL)),
    CHECK ((state = 'rejected') = (rejected_why IS NOT NULL))
);
COMMENT ON TABLE office.commands IS 'What the office ordered for accounts: payments, top-ups, write-offs, blocks; payments and top-ups are different things (D46)';
COMMENT ON COLUMN office.commands.at IS 'Booking time';
COMMENT ON COLUMN office.commands.source IS 'Of a payment: bank, paymaster, …';
COMMENT ON COLUMN office.commands.reverses IS 'Which command it takes back';
COMMENT ON COLUMN office.commands.state IS 'As known here; the engine has the last word';
CREATE INDEX commands_account ON office.commands (account_id, at DESC, command_id DESC);
CREATE INDEX commands_ordered ON office.commands (ordered_at) WHERE state = 'ordered';
CREATE UNIQUE INDEX commands_reversed_once ON office.commands (reverses) WHERE reverses IS NOT NULL;

CREATE FUNCTION office.guard_command() RETURNS trigger
LANGUAGE plpgsql SET search_path = '' AS $$
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
CREATE TRIGGER guard_command BEFORE UPDATE ON office.commands
    FOR EACH ROW EXECUTE FUNCTION office.guard_command();
CREATE TRIGGER commands_stay BEFORE DELETE OR TRUNCATE ON office.commands
    FOR EACH STATEMENT EXECUTE FUNCTION plumbing.refuse_change();

CREATE VIEW office.payments WITH (security_invoker = true) AS
    SELECT command_id, account_id, at, amount_micros, reference, source, reason, reverses, author, ordered_at, state,
           state_at, rejected_why
    FROM office.commands WHERE kind = 'payment';
CREATE VIEW office.top_ups WITH (security_invoker = true) AS
    SELECT command_id, account_id, at, amount_micros, reference, source, reason, reverses, author, ordered_at, state,
           state_at, rejected_why
    FROM office.commands WHERE kind = 'top_up';
CREATE VIEW office.write_offs WITH (security_invoker = true) AS
    SELECT command_id, account_id, at, amount_micros, reference, source, reason, reverses, author, ordered_at, state,
           state_at, rejected_why
    FROM office.commands WHERE kind = 'write_off';
COMMENT ON VIEW office.payments IS 'Money that came in';
COMMENT ON VIEW office.top_ups IS 'Money that the office gave';
COMMENT ON VIEW office.write_offs IS 'Money that the office took';

CREATE TABLE office.account_blocks (
    block_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    account_id office.id NOT NULL REFERENCES office.accounts,
    blocked_at timestamptz NOT NULL,
    blocked_by text NOT NULL,
    reason office.words NOT NULL,
    block_command_id office.id REFERENCES office.commands,
    unblocked_at timestamptz,
    unblocked_by text,
    unblock_reason office.words,
    unblock_command_id office.id REFERENCES office.commands,
    CHECK (unblocked_at >= blocked_at),
    CHECK ((unblocked_at IS NULL) = (unblocked_by IS NULL))
);
COMMENT ON TABLE office.account_blocks IS 'When and why accounts were blocked; the last one''s date and reason stay to be seen (§3.3)';
COMMENT ON COLUMN office.account_blocks.block_command_id IS 'Null: it was blocked when it was taken into the record';
CREATE INDEX account_blocks_account ON office.account_blocks (account_id, blocked_at DESC);
CREATE UNIQUE INDEX account_blocks_now ON office.account_blocks (account_id) WHERE unblocked_at IS NULL;

-- Locks -----------------------------------------------------------------------------------------------------------------

CREATE TABLE office.locks (
    lock_id office.id PRIMARY KEY,
    kind text NOT NULL CHECK (kind IN ('prefix', 'number')),
    digits office.digits NOT NULL,
    account_id office.id REFERENCES office.accounts,
    provider_id office.id REFERENCES office.providers,
    author office.words NOT NULL,
    reason office.words NOT NULL,
    created_at timestamptz NOT NULL,
    ends_at timestamptz,
    lifted_at timestamptz,
    lifted_by text,
    lift_reason office.words,
    revision integer NOT NULL DEFAULT 1 CHECK (revision > 0),
    changed_at timestamptz NOT NULL,
    changed_by text NOT NULL,
    changed_as text,
    change_reason office.words NOT NULL,
    CONSTRAINT lifted_has_its_reason CHECK (
        (lifted_at IS NULL) = (lifted_by IS NULL) AND (lifted_at IS NULL) = (lift_reason IS NULL)
    )
);
COMMENT ON TABLE office.locks IS 'Forbidden numbers and prefixes (§2.2); a lock is lifted, never deleted';
COMMENT ON COLUMN office.locks.account_id IS 'Null: for everyone (global)';
COMMENT ON COLUMN office.locks.provider_id IS 'Null: whoever carries the call';
COMMENT ON COLUMN office.locks.author IS 'Whom to ask; he or a manager may lift it';
COMMENT ON COLUMN office.locks.ends_at IS 'When it is to be lifted by itself; null: never';
COMMENT ON COLUMN office.locks.lifted_at IS 'Since when it does not deny any more; null: it is in force';
COMMENT ON COLUMN office.locks.changed_at IS 'The latest change, as the history has it, with who, in which role and why';
CREATE INDEX locks_account ON office.locks (account_id) WHERE lifted_at IS NULL;
CREATE INDEX locks_digits ON office.locks (digits) WHERE lifted_at IS NULL;
CREATE INDEX locks_ends ON office.locks (ends_at) WHERE lifted_at IS NULL AND ends_at IS NOT NULL;
CREATE INDEX locks_provider ON office.locks (provider_id) WHERE provider_id IS NOT NULL;

CREATE TABLE office.lock_history (
    lock_id office.id NOT NULL REFERENCES office.locks,
    revision integer NOT NULL,
    action text NOT NULL CHECK (action IN ('set', 'changed', 'lifted')),
    at timestamptz NOT NULL,
    actor text NOT NULL,
    acted_as text,
    why text NOT NULL,
    kind text NOT NULL,
    digits text COLLATE "C" NOT NULL,
    account_id office.id,
    provider_id office.id,
    author text NOT NULL,
    reason text NOT NULL,
    created_at timestamptz NOT NULL,
    ends_at timestamptz,
    lifted_at timestamptz,
    PRIMARY KEY (lock_id, revision)
);
COMMENT ON TABLE office.lock_history IS '«История записи» of locks: each change with the lock as it was then; written by the database, for ever';
COMMENT ON COLUMN office.lock_history.acted_as IS 'In which role';
CREATE INDEX lock_history_at ON office.lock_history (at);

CREATE FUNCTION office.number_lock_changes() RETURNS trigger
LANGUAGE plpgsql SET search_path = '' AS $$
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
CREATE TRIGGER number_lock_changes BEFORE INSERT OR UPDATE ON office.locks
    FOR EACH ROW EXECUTE FUNCTION office.number_lock_changes();

CREATE FUNCTION office.write_lock_history() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
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
CREATE TRIGGER write_lock_history AFTER INSERT OR UPDATE ON office.locks
    FOR EACH ROW EXECUTE FUNCTION office.write_lock_history();
CREATE TRIGGER locks_stay BEFORE DELETE OR TRUNCATE ON office.locks
    FOR EACH STATEMENT EXECUTE FUNCTION plumbing.refuse_change();
CREATE TRIGGER lock_history_only_grows BEFORE UPDATE OR DELETE OR TRUNCATE ON office.lock_history
    FOR EACH STATEMENT EXECUTE FUNCTION plumbing.refuse_change();

-- Numbers ---------------------------------------------------------------------------------------------------------------

CREATE TABLE office.numbers (
    number office.digits PRIMARY KEY,
    status text NOT NULL CHECK (status IN ('free', 'reserved', 'in_use', 'archive')),
    account_id office.id REFERENCES office.accounts,
    place office.id,
    region text,
    provider_id office.id REFERENCES office.providers,
    fmtn boolean NOT NULL DEFAULT false,
    joined_on date,
    archived_on date,
    saleable text NOT NULL DEFAULT 'depends_on_ncv' CHECK (saleable IN ('depends_on_ncv', 'forced_yes', 'no')),
    removed_at timestamptz,
    revision integer NOT NULL DEFAULT 1 CHECK (revision > 0),
    changed_at timestamptz NOT NULL,
    changed_by text NOT NULL,
    change_reason office.words NOT NULL,
    CONSTRAINT in_use_by_someone CHECK (status <> 'in_use' OR account_id IS NOT NULL),
    CONSTRAINT free_of_everyone CHECK (status NOT IN ('free', 'archive') OR account_id IS NULL)
);
COMMENT ON TABLE office.numbers IS 'DID numbers of the operator''s capacity';
COMMENT ON COLUMN office.numbers.fmtn IS 'Its unwanted calls do not count (§1.4)';
COMMENT ON COLUMN office.numbers.removed_at IS 'Since when it is not in the capacity any more';
CREATE INDEX numbers_account ON office.numbers (account_id) WHERE account_id IS NOT NULL;
CREATE INDEX numbers_status ON office.numbers (status, number);
CREATE INDEX numbers_provider ON office.numbers (provider_id) WHERE provider_id IS NOT NULL;

CREATE TABLE office.number_history (
    number office.digits NOT NULL REFERENCES office.numbers,
    revision integer NOT NULL,
    at timestamptz NOT NULL,
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
    removed_at timestamptz,
    PRIMARY KEY (number, revision)
);
COMMENT ON TABLE office.number_history IS 'Each state of a number, from its entry on; written by the database, for ever';
CREATE INDEX number_history_account ON office.number_history (account_id, number) WHERE account_id IS NOT NULL;

CREATE FUNCTION office.number_number_changes() RETURNS trigger
LANGUAGE plpgsql SET search_path = '' AS $$
BEGIN
    IF TG_OP = 'UPDATE' AND NEW.number <> OLD.number THEN
        RAISE EXCEPTION 'number % stays itself', OLD.number USING ERRCODE = 'insufficient_privilege';
    END IF;
    NEW.revision := CASE WHEN TG_OP = 'INSERT' THEN 1 ELSE OLD.revision + 1 END;
    RETURN NEW;
END
$$;
CREATE TRIGGER number_number_changes BEFORE INSERT OR UPDATE ON office.numbers
    FOR EACH ROW EXECUTE FUNCTION office.number_number_changes();

CREATE FUNCTION office.write_number_history() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
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
CREATE TRIGGER write_number_history AFTER INSERT ON office.numbers REFERENCING NEW TABLE AS touched
    FOR EACH STATEMENT EXECUTE FUNCTION office.write_number_history();
CREATE TRIGGER write_number_changes AFTER UPDATE ON office.numbers REFERENCING NEW TABLE AS touched
    FOR EACH STATEMENT EXECUTE FUNCTION office.write_number_history();
CREATE TRIGGER numbers_stay BEFORE DELETE OR TRUNCATE ON office.numbers
    FOR EACH STATEMENT EXECUTE FUNCTION plumbing.refuse_change();
CREATE TRIGGER number_history_only_grows BEFORE UPDATE OR DELETE OR TRUNCATE ON office.number_history
    FOR EACH STATEMENT EXECUTE FUNCTION plumbing.refuse_change();

-- Calendar --------------------------------------------------------------------------------------------------------------

CREATE TABLE office.calendar (
    day date PRIMARY KEY,
    kind text NOT NULL CHECK (kind IN ('working', 'shortened', 'day_off')),
    name office.words
);
COMMENT ON TABLE office.calendar IS 'The production calendar: days that are not what their weekday says';

-- Rights ----------------------------------------------------------------------------------------------------------------

GRANT SELECT ON ALL TABLES IN SCHEMA office
    TO tollgate_app, tollgate_projector, tollgate_relay, tollgate_readonly;
GRANT INSERT, UPDATE ON office.clients, office.tags, office.providers, office.bands, office.price_lists,
    office.price_list_versions, office.tariff_plans, office.accounts, office.account_services, office.commands,
    office.account_blocks, office.numbers
    TO tollgate_app;
GRANT INSERT, UPDATE, DELETE ON office.client_tags, office.account_tags, office.tariff_plan_lists, office.discounts,
    office.calendar
    TO tollgate_app;
GRANT INSERT, DELETE ON office.prices TO tollgate_app;
GRANT UPDATE (state, state_at, rejected_why) ON office.commands TO tollgate_projector;
-- Nobody writes locks by himself: they are set, changed and lifted through functions that ask who is there (§2.2).
