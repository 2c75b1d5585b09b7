-- What every other table needs: who applied which migration, who changed what (audit), what the engine is still to be
-- told (outbox), which requests were answered already. And the roles that rights are given to.

-- Roles belong to the whole server, so another database of it may have made them.
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

CREATE SCHEMA plumbing;
COMMENT ON SCHEMA plumbing IS 'Migrations, audit, outbox, idempotency keys';
CREATE SCHEMA facts;
COMMENT ON SCHEMA facts IS 'What the engine said, as it was projected';
CREATE SCHEMA books;
COMMENT ON SCHEMA books IS 'The ledger: accounts and postings in double entry';
GRANT USAGE ON SCHEMA plumbing, facts, books TO tollgate_app, tollgate_projector, tollgate_relay, tollgate_readonly;

CREATE TABLE plumbing.migrations (
    version integer PRIMARY KEY CHECK (version > 0),
    name text NOT NULL UNIQUE,
    checksum text NOT NULL,
    program text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now(),
    applied_by text NOT NULL DEFAULT session_user
);
COMMENT ON TABLE plumbing.migrations IS 'Files that were applied, with the SHA-256 of their text';
GRANT SELECT ON plumbing.migrations TO tollgate_app, tollgate_projector, tollgate_relay, tollgate_readonly;

-- For tables that only grow: refuses everything else, even to their owner.
CREATE FUNCTION plumbing.refuse_change() RETURNS trigger
LANGUAGE plpgsql SET search_path = '' AS $$
BEGIN
    RAISE EXCEPTION '%.% only grows: % is not possible', TG_TABLE_SCHEMA, TG_TABLE_NAME, TG_OP
        USING ERRCODE = 'insufficient_privilege';
END
$$;

-- Audit -----------------------------------------------------------------------------------------------------------------

CREATE TABLE plumbing.audit (
    seq bigint PRIMARY KEY,
    change_id bigint NOT NULL,
    at timestamptz NOT NULL,
    actor text NOT NULL CHECK (actor <> ''),
    role text,
    interface text,
    address inet,
    action text NOT NULL CHECK (action <> ''),
    entity text NOT NULL CHECK (entity <> ''),
    entity_id text NOT NULL,
    reason text NOT NULL CHECK (reason <> ''),
    before jsonb,
    after jsonb,
    prev_hash bytea NOT NULL CHECK (length(prev_hash) = 32),
    hash bytea NOT NULL CHECK (length(hash) = 32)
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

CREATE INDEX audit_entity ON plumbing.audit (entity, entity_id, seq);
CREATE INDEX audit_actor ON plumbing.audit (actor, seq);
CREATE INDEX audit_at ON plumbing.audit (at);

CREATE SEQUENCE plumbing.change_ids;
COMMENT ON SEQUENCE plumbing.change_ids IS 'Numbers of changes; a change that failed leaves a gap';

CREATE TABLE plumbing.audit_head (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    seq bigint NOT NULL,
    hash bytea NOT NULL
);
COMMENT ON TABLE plumbing.audit_head IS 'The latest row of the audit; its lock makes writers queue until they commit';
INSERT INTO plumbing.audit_head (seq, hash) VALUES (0, decode(repeat('00', 32), 'hex'));

CREATE FUNCTION plumbing.audit_hash(a plumbing.audit) RETURNS bytea
LANGUAGE sql STABLE SET search_path = '' AS $$
    SELECT sha256(a.prev_hash || convert_to(jsonb_build_array(
        a.seq, a.change_id, (extract(epoch FROM a.at) * 1000000)::bigint, a.actor, a.role, a.interface,
        host(a.address), a.action, a.entity, a.entity_id, a.reason, a.before, a.after
    )::text, 'UTF8'))
$$;
COMMENT ON FUNCTION plumbing.audit_hash IS 'What the hash of a row must be';

-- The head is written once before and once after a statement, not for each row: a row that one transaction writes
-- thousands of times takes ever longer to read.
CREATE FUNCTION plumbing.take_audit() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
BEGIN
    -- Waits for whoever wrote before and has not committed yet; a transaction that can't see those rows fails here, to
    -- be tried again.
    UPDATE plumbing.audit_head SET seq = seq;
    RETURN NULL;
END
$$;
CREATE FUNCTION plumbing.chain_audit() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
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
CREATE FUNCTION plumbing.leave_audit() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
BEGIN
    UPDATE plumbing.audit_head h SET seq = a.seq, hash = a.hash
    FROM (SELECT seq, hash FROM plumbing.audit ORDER BY seq DESC LIMIT 1) a;
    RETURN NULL;
END
$$;
CREATE TRIGGER take_audit BEFORE INSERT ON plumbing.audit
    FOR EACH STATEMENT EXECUTE FUNCTION plumbing.take_audit();
CREATE TRIGGER chain_audit BEFORE INSERT ON plumbing.audit
    FOR EACH ROW EXECUTE FUNCTION plumbing.chain_audit();
CREATE TRIGGER leave_audit AFTER INSERT ON plumbing.audit
    FOR EACH STATEMENT EXECUTE FUNCTION plumbing.leave_audit();
CREATE TRIGGER audit_only_grows BEFORE UPDATE OR DELETE OR TRUNCATE ON plumbing.audit
    FOR EACH STATEMENT EXECUTE FUNCTION plumbing.refuse_change();
CREATE TRIGGER audit_head_stays BEFORE INSERT OR DELETE OR TRUNCATE ON plumbing.audit_head
    FOR EACH STATEMENT EXECUTE FUNCTION plumbing.refuse_change();

CREATE FUNCTION plumbing.audit_faults(OUT seq bigint, OUT fault text) RETURNS SETOF record
LANGUAGE sql STABLE SET search_path = '' AS $$
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
COMMENT ON FUNCTION plumbing.audit_faults IS 'Rows where the chain does not hold; none: nothing was changed or taken out';

GRANT SELECT, INSERT ON plumbing.audit TO tollgate_app;
GRANT USAGE ON SEQUENCE plumbing.change_ids TO tollgate_app;
GRANT SELECT ON plumbing.audit TO tollgate_projector, tollgate_relay, tollgate_readonly;
GRANT SELECT ON plumbing.audit_head TO tollgate_app, tollgate_projector, tollgate_relay, tollgate_readonly;

-- Outbox ----------------------------------------------------------------------------------------------------------------

CREATE TABLE plumbing.outbox (
    seq bigint PRIMARY KEY,
    change_id bigint NOT NULL,
    at timestamptz NOT NULL,
    author text NOT NULL,
    kind text NOT NULL CHECK (kind <> ''),
    key text NOT NULL CHECK (key <> ''),
    payload jsonb,
    reference_version bigint CHECK (reference_version > 0),
    published_at timestamptz
);
COMMENT ON TABLE plumbing.outbox IS 'What the engine is told, in the order of the commits; the relay publishes it, and it stays for ever';
COMMENT ON COLUMN plumbing.outbox.seq IS '1, 2, 3, … in the order of the commits, without gaps';
COMMENT ON COLUMN plumbing.outbox.change_id IS 'Rows of one change follow one another and come into force together';
COMMENT ON COLUMN plumbing.outbox.kind IS 'command, or a kind of reference record: account, provider, tariff_plan, price_list, band, lock, number, discounts';
COMMENT ON COLUMN plumbing.outbox.key IS 'The id of what the record is about; of a command its account';
COMMENT ON COLUMN plumbing.outbox.payload IS 'The record; null: it is gone. Of a price list: {"version_id": n}, the published version';
COMMENT ON COLUMN plumbing.outbox.reference_version IS 'Which version it became; null with published_at: none, for nothing differed, or it is a command';

CREATE INDEX outbox_waiting ON plumbing.outbox (seq) WHERE published_at IS NULL;
CREATE INDEX outbox_key ON plumbing.outbox (kind, key, seq);
CREATE INDEX outbox_version ON plumbing.outbox (reference_version) WHERE reference_version IS NOT NULL;

CREATE TABLE plumbing.outbox_head (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    seq bigint NOT NULL
);
COMMENT ON TABLE plumbing.outbox_head IS 'The latest number of the outbox; its lock makes writers queue until they commit';
INSERT INTO plumbing.outbox_head (seq) VALUES (0);

CREATE FUNCTION plumbing.take_outbox() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
BEGIN
    -- Whoever comes second gets its numbers when the first has committed: they are in the order of the commits.
    UPDATE plumbing.outbox_head SET seq = seq;
    RETURN NULL;
END
$$;
CREATE FUNCTION plumbing.number_outbox() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
BEGIN
    SELECT coalesce(max(o.seq), 0) + 1 INTO STRICT NEW.seq FROM plumbing.outbox o;
    RETURN NEW;
END
$$;
CREATE FUNCTION plumbing.leave_outbox() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
BEGIN
    UPDATE plumbing.outbox_head SET seq = (SELECT coalesce(max(o.seq), 0) FROM plumbing.outbox o);
    PERFORM pg_catalog.pg_notify('tollgate_outbox', '');
    RETURN NULL;
END
$$;
CREATE TRIGGER take_outbox BEFORE INSERT ON plumbing.outbox
    FOR EACH STATEMENT EXECUTE FUNCTION plumbing.take_outbox();
CREATE TRIGGER number_outbox BEFORE INSERT ON plumbing.outbox
    FOR EACH ROW EXECUTE FUNCTION plumbing.number_outbox();
CREATE TRIGGER leave_outbox AFTER INSERT ON plumbing.outbox
    FOR EACH STATEMENT EXECUTE FUNCTION plumbing.leave_outbox();

CREATE FUNCTION plumbing.guard_outbox() RETURNS trigger
LANGUAGE plpgsql SET search_path = '' AS $$
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
CREATE TRIGGER guard_outbox BEFORE UPDATE ON plumbing.outbox
    FOR EACH ROW EXECUTE FUNCTION plumbing.guard_outbox();
CREATE TRIGGER outbox_only_grows BEFORE DELETE OR TRUNCATE ON plumbing.outbox
    FOR EACH STATEMENT EXECUTE FUNCTION plumbing.refuse_change();

GRANT SELECT, INSERT ON plumbing.outbox TO tollgate_app;
GRANT SELECT, UPDATE (reference_version, published_at) ON plumbing.outbox TO tollgate_relay;
GRANT SELECT ON plumbing.outbox TO tollgate_projector, tollgate_readonly;
GRANT SELECT ON plumbing.outbox_head TO tollgate_app, tollgate_projector, tollgate_relay, tollgate_readonly;

-- Idempotency -----------------------------------------------------------------------------------------------------------

CREATE TABLE plumbing.idempotency_keys (
    user_id text NOT NULL,
    key text NOT NULL CHECK (length(key) BETWEEN 1 AND 255),
    request_hash bytea NOT NULL,
    at timestamptz NOT NULL,
    status integer,
    response bytea,
    headers jsonb,
    PRIMARY KEY (user_id, key)
);
COMMENT ON TABLE plumbing.idempotency_keys IS 'Changing requests that were answered: the same key gets the same answer, another request under it is refused';
COMMENT ON COLUMN plumbing.idempotency_keys.status IS 'Of the answer (HTTP); null while it is worked on';
CREATE INDEX idempotency_keys_at ON plumbing.idempotency_keys (at);
GRANT SELECT, INSERT, UPDATE, DELETE ON plumbing.idempotency_keys TO tollgate_app;
