-- The life of a number (§1.4): subscribers, requests to release a number for sale, days for which unwanted calls were
-- collected. How a number may go from one state to the next is watched by the database, whoever asks it: a released number
-- goes to quarantine, and nobody sets it free by hand.

-- Days of the statistics ------------------------------------------------------------------------------------------------

CREATE TABLE office.ncv_days (
    day date PRIMARY KEY,
    closed_at timestamptz NOT NULL,
    closed_by text NOT NULL,
    why office.words NOT NULL,
    called_numbers integer NOT NULL CHECK (called_numbers >= 0),
    calls bigint NOT NULL CHECK (calls >= 0)
);
COMMENT ON TABLE office.ncv_days IS
    'Days that are over and of which all is known: a number without a row in facts.ncv had no call then. A day that is '
    'missing here is a gap, not silence (D6)';
CREATE TRIGGER ncv_days_only_grow BEFORE UPDATE OR DELETE OR TRUNCATE ON office.ncv_days
    FOR EACH STATEMENT EXECUTE FUNCTION plumbing.refuse_change();

-- Requests to release a number ------------------------------------------------------------------------------------------

CREATE TABLE office.number_requests (
    request_id text COLLATE "C" PRIMARY KEY,
    number office.digits NOT NULL REFERENCES office.numbers,
    state text NOT NULL CHECK (state IN ('waiting_for_client', 'waiting', 'approved', 'refused', 'withdrawn')),
    department text NOT NULL CHECK (department IN ('sales', 'customer_service')),
    desk text NOT NULL CHECK (desk IN ('assistants', 'keepers', 'direct_manager')),
    asked_at timestamptz NOT NULL,
    asked_on date NOT NULL,
    asked_by text NOT NULL,
    reason office.words NOT NULL,
    calls bigint NOT NULL CHECK (calls >= 0),
    unique_callers integer NOT NULL CHECK (unique_callers >= 0),
    criterion text NOT NULL CHECK (criterion IN ('depends_on_ncv', 'no')),
    client_id office.id REFERENCES office.clients,
    copy_to text,
    told_callers integer,
    consent jsonb,
    decided_at timestamptz,
    decided_by text,
    decision office.words,
    decided_callers integer,
    ended_at timestamptz,
    CONSTRAINT number_requests_decided CHECK ((state IN ('waiting_for_client', 'waiting')) = (decided_at IS NULL)),
    CONSTRAINT number_requests_said_by CHECK ((decided_at IS NULL) = (decided_by IS NULL)),
    CONSTRAINT nobody_approves_his_own CHECK (state <> 'approved' OR decided_by <> asked_by),
    CONSTRAINT number_requests_consent CHECK (consent IS NULL OR told_callers IS NOT NULL),
    CONSTRAINT number_requests_ended CHECK (ended_at IS NULL OR state = 'approved')
);
COMMENT ON TABLE office.number_requests IS 'Requests to release numbers for sale that the rules would not let be sold (§1.4)';
COMMENT ON COLUMN office.number_requests.told_callers IS 'How many unique callers the letter to the client named';
COMMENT ON COLUMN office.number_requests.ended_at IS 'Until when the approval held; null: it holds, or never did';
CREATE UNIQUE INDEX number_requests_one_open ON office.number_requests (number)
    WHERE state IN ('waiting_for_client', 'waiting');
CREATE UNIQUE INDEX number_requests_one_in_force ON office.number_requests (number)
    WHERE state = 'approved' AND ended_at IS NULL;
CREATE INDEX number_requests_number ON office.number_requests (number, asked_at);
CREATE INDEX number_requests_newest ON office.number_requests (asked_at DESC, request_id DESC);
CREATE INDEX number_requests_queue ON office.number_requests (desk, asked_at DESC)
    WHERE state IN ('waiting_for_client', 'waiting');

CREATE FUNCTION office.guard_number_request() RETURNS trigger
LANGUAGE plpgsql SET search_path = '' AS $$
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
CREATE TRIGGER guard_number_request BEFORE UPDATE ON office.number_requests
    FOR EACH ROW EXECUTE FUNCTION office.guard_number_request();
CREATE TRIGGER number_requests_stay BEFORE DELETE OR TRUNCATE ON office.number_requests
    FOR EACH STATEMENT EXECUTE FUNCTION plumbing.refuse_change();

CREATE TABLE office.number_groups (
    group_name text NOT NULL CHECK (group_name IN ('assistants', 'keepers', 'heads')),
    member access.user_name NOT NULL REFERENCES access.users,
    PRIMARY KEY (group_name, member)
);
COMMENT ON TABLE office.number_groups IS
    'Who answers requests of the sales department: assistants, keepers of other providers'' numbers; and who gets copies';

CREATE TABLE office.direct_managers (
    user_name access.user_name PRIMARY KEY REFERENCES access.users,
    manager access.user_name NOT NULL REFERENCES access.users,
    CHECK (manager <> user_name)
);
COMMENT ON TABLE office.direct_managers IS 'Who answers the requests of a colleague in customer service';

-- Subscribers -----------------------------------------------------------------------------------------------------------

CREATE TABLE office.subscribers (
    subscriber_id text COLLATE "C" PRIMARY KEY,
    number office.digits NOT NULL REFERENCES office.numbers,
    account_id office.id NOT NULL REFERENCES office.accounts,
    product office.words NOT NULL,
    status text NOT NULL CHECK (status IN ('new', 'in_use', 'closed')),
    planned_on date,
    reserved_at timestamptz NOT NULL,
    reserved_on date NOT NULL,
    rested boolean NOT NULL,
    created_by text NOT NULL,
    activated_at timestamptz,
    closed_at timestamptz,
    closed_by text,
    closed_why office.words,
    revision integer NOT NULL DEFAULT 1 CHECK (revision > 0),
    changed_at timestamptz NOT NULL,
    changed_by text NOT NULL,
    change_reason office.words NOT NULL,
    CONSTRAINT subscribers_closed CHECK ((status = 'closed') = (closed_at IS NOT NULL)),
    CONSTRAINT subscribers_closed_why CHECK ((closed_at IS NULL) = (closed_why IS NULL)),
    CONSTRAINT subscribers_in_use CHECK (status <> 'in_use' OR activated_at IS NOT NULL)
);
COMMENT ON TABLE office.subscribers IS 'Numbers on products of accounts: «Абонент» (§1.4)';
COMMENT ON COLUMN office.subscribers.rested IS 'Whether the number was clean when it was reserved';
COMMENT ON COLUMN office.subscribers.planned_on IS 'The product''s planned activation: the days to pay count from then';
CREATE UNIQUE INDEX subscribers_one_open ON office.subscribers (number) WHERE status <> 'closed';
CREATE INDEX subscribers_number ON office.subscribers (number, reserved_at);
CREATE INDEX subscribers_account ON office.subscribers (account_id, subscriber_id);
CREATE INDEX subscribers_unpaid ON office.subscribers (subscriber_id) WHERE status = 'new';

CREATE TABLE office.subscriber_history (
    subscriber_id text COLLATE "C" NOT NULL REFERENCES office.subscribers,
    revision integer NOT NULL,
    at timestamptz NOT NULL,
    actor text NOT NULL,
    why text NOT NULL,
    status text NOT NULL,
    planned_on date,
    PRIMARY KEY (subscriber_id, revision)
);
COMMENT ON TABLE office.subscriber_history IS 'Each state of a subscriber; written by the database, for ever';

CREATE FUNCTION office.guard_subscriber() RETURNS trigger
LANGUAGE plpgsql SET search_path = '' AS $$
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
CREATE TRIGGER guard_subscriber BEFORE INSERT OR UPDATE ON office.subscribers
    FOR EACH ROW EXECUTE FUNCTION office.guard_subscriber();

CREATE FUNCTION office.write_subscriber_history() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
BEGIN
    INSERT INTO office.subscriber_history (subscriber_id, revision, at, actor, why, status, planned_on)
    VALUES (NEW.subscriber_id, NEW.revision, NEW.changed_at, NEW.changed_by, NEW.change_reason, NEW.status,
            NEW.planned_on);
    RETURN NULL;
END
$$;
CREATE TRIGGER write_subscriber_history AFTER INSERT OR UPDATE ON office.subscribers
    FOR EACH ROW EXECUTE FUNCTION office.write_subscriber_history();
CREATE TRIGGER subscribers_stay BEFORE DELETE OR TRUNCATE ON office.subscribers
    FOR EACH STATEMENT EXECUTE FUNCTION plumbing.refuse_change();
CREATE TRIGGER subscriber_history_only_grows BEFORE UPDATE OR DELETE OR TRUNCATE ON office.subscriber_history
    FOR EACH STATEMENT EXECUTE FUNCTION plumbing.refuse_change();

-- Ways of a number ------------------------------------------------------------------------------------------------------

-- Who loads a folder with the owner's rights brings the numbers as another system had them; everyone else goes these ways.
CREATE FUNCTION office.guard_number_way() RETURNS trigger
LANGUAGE plpgsql SET search_path = '' AS $$
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
COMMENT ON FUNCTION office.guard_number_way IS 'Raises insufficient_privilege for a change that the rules do not know (§1.4)';
CREATE TRIGGER guard_number_way BEFORE UPDATE ON office.numbers
    FOR EACH ROW WHEN (NEW.status <> OLD.status OR NEW.saleable <> OLD.saleable)
    EXECUTE FUNCTION office.guard_number_way();
-- Afterwards: an entry that meets a row that is there is a change of it.
CREATE TRIGGER guard_new_number AFTER INSERT ON office.numbers
    FOR EACH ROW WHEN (NEW.saleable = 'forced_yes')
    EXECUTE FUNCTION office.guard_number_way();

-- The search goes through numbers in their order and stops when it has enough: each of its narrowest conditions has them
-- in that order.
CREATE INDEX numbers_region ON office.numbers (region, number) WHERE region IS NOT NULL;
DROP INDEX office.numbers_provider;
CREATE INDEX numbers_provider ON office.numbers (provider_id, number) WHERE provider_id IS NOT NULL;
-- The few whose availability does not depend on their calls.
CREATE INDEX numbers_rare ON office.numbers (number)
    WHERE saleable <> 'depends_on_ncv' OR fmtn OR place = 'Агентские номера';

-- Rights ----------------------------------------------------------------------------------------------------------------

GRANT SELECT ON office.ncv_days, office.number_requests, office.number_groups, office.direct_managers,
    office.subscribers, office.subscriber_history
    TO tollgate_app, tollgate_projector, tollgate_relay, tollgate_readonly;
GRANT INSERT ON office.ncv_days TO tollgate_app;
GRANT INSERT, UPDATE ON office.number_requests, office.subscribers TO tollgate_app;
GRANT INSERT, UPDATE, DELETE ON office.number_groups, office.direct_managers TO tollgate_app;
REVOKE ALL ON FUNCTION office.guard_number_way, office.guard_number_request, office.guard_subscriber,
    office.write_subscriber_history FROM PUBLIC;
