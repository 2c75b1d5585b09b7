-- Who may come in: users, their sessions and API keys. And three things that the API shows and sets: letters that went
-- out, and the business clock.
--
-- No secret is kept: passwords as argon2id hashes; tokens of sessions and keys as SHA-256, since they are 32 random bytes
-- that nobody can guess his way to.

CREATE SCHEMA access;
COMMENT ON SCHEMA access IS 'Users, sessions, API keys';
GRANT USAGE ON SCHEMA access TO tollgate_app;

CREATE DOMAIN access.user_name AS text COLLATE "C" CHECK (VALUE ~ '^[a-z][a-z0-9._-]{1,31}$');
COMMENT ON DOMAIN access.user_name IS 'What a user signs in with; the audit and the locks refer to it, so it never changes';

CREATE TABLE access.users (
    name access.user_name PRIMARY KEY,
    role text NOT NULL CHECK (role IN (
        'support', 'sales', 'marketing', 'b2b', 'billing', 'manager', 'auditor', 'administrator', 'switch'
    )),
    full_name office.words NOT NULL,
    email office.words,
    phone office.words,
    status text NOT NULL DEFAULT 'active' CHECK (status IN ('active', 'disabled')),
    password_hash text,
    password_at timestamptz,
    token_hash bytea CHECK (length(token_hash) = 32),
    token_expires_at timestamptz,
    created_at timestamptz NOT NULL,
    created_by text NOT NULL,
    CHECK ((password_hash IS NULL) = (password_at IS NULL)),
    CHECK ((token_hash IS NULL) = (token_expires_at IS NULL))
);
COMMENT ON TABLE access.users IS 'People and switches; a user is disabled, never deleted';
COMMENT ON COLUMN access.users.email IS 'How to reach whoever set a lock (§2.2)';
COMMENT ON COLUMN access.users.password_hash IS 'argon2id, with its parameters; null: none was set yet, nobody can sign in';
COMMENT ON COLUMN access.users.token_hash IS 'Of the one-time token that sets a password; null: none is out';

CREATE FUNCTION access.guard_user() RETURNS trigger
LANGUAGE plpgsql SET search_path = '' AS $$
BEGIN
    IF NEW.name <> OLD.name THEN
        RAISE EXCEPTION 'user % keeps the name', OLD.name USING ERRCODE = 'insufficient_privilege';
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER guard_user BEFORE UPDATE ON access.users
    FOR EACH ROW EXECUTE FUNCTION access.guard_user();
CREATE TRIGGER users_stay BEFORE DELETE OR TRUNCATE ON access.users
    FOR EACH STATEMENT EXECUTE FUNCTION plumbing.refuse_change();

CREATE TABLE access.sessions (
    session_id text COLLATE "C" PRIMARY KEY,
    token_hash bytea NOT NULL UNIQUE CHECK (length(token_hash) = 32),
    user_name access.user_name NOT NULL REFERENCES access.users,
    created_at timestamptz NOT NULL,
    used_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    ended_at timestamptz,
    ended_why text,
    address inet,
    agent text,
    CHECK (expires_at > created_at),
    CHECK ((ended_at IS NULL) = (ended_why IS NULL))
);
COMMENT ON TABLE access.sessions IS 'Who is signed in; by the machine''s clock, whatever the business clock says';
COMMENT ON COLUMN access.sessions.used_at IS 'To the minute; a session that is idle for too long is over';
COMMENT ON COLUMN access.sessions.expires_at IS 'When it is over, however busy';
CREATE INDEX sessions_user ON access.sessions (user_name) WHERE ended_at IS NULL;
CREATE INDEX sessions_expires ON access.sessions (expires_at);

CREATE TABLE access.api_keys (
    prefix text COLLATE "C" PRIMARY KEY CHECK (prefix ~ '^[a-z2-7]{8}$'),
    secret_hash bytea NOT NULL CHECK (length(secret_hash) = 32),
    user_name access.user_name NOT NULL REFERENCES access.users,
    purpose office.words NOT NULL,
    scopes text[] COLLATE "C" NOT NULL CHECK (cardinality(scopes) > 0),
    created_at timestamptz NOT NULL,
    created_by text NOT NULL,
    expires_at timestamptz NOT NULL,
    used_at timestamptz,
    revoked_at timestamptz,
    revoked_by text,
    revoked_why office.words,
    CHECK (expires_at > created_at),
    CHECK ((revoked_at IS NULL) = (revoked_by IS NULL) AND (revoked_at IS NULL) = (revoked_why IS NULL))
);
COMMENT ON TABLE access.api_keys IS 'Keys for programs: they may what their user''s role and their scopes both allow';
COMMENT ON COLUMN access.api_keys.prefix IS 'The part of a key that may be shown';
COMMENT ON COLUMN access.api_keys.scopes IS 'Names of permissions';
CREATE INDEX api_keys_user ON access.api_keys (user_name);

CREATE TABLE access.failed_logins (
    subject text COLLATE "C" PRIMARY KEY,
    failures integer NOT NULL CHECK (failures > 0),
    last_at timestamptz NOT NULL,
    wait_until timestamptz NOT NULL
);
COMMENT ON TABLE access.failed_logins IS 'Wrong passwords in a row by name, whether there is such a user or not';
CREATE INDEX failed_logins_last ON access.failed_logins (last_at);

GRANT SELECT, INSERT, UPDATE ON access.users, access.api_keys TO tollgate_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON access.sessions, access.failed_logins TO tollgate_app;

-- Letters ---------------------------------------------------------------------------------------------------------------

CREATE TABLE office.letters (
    letter_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind text COLLATE "C" NOT NULL CHECK (kind <> ''),
    once_key text COLLATE "C" NOT NULL UNIQUE,
    client_id office.id REFERENCES office.clients,
    account_id office.id REFERENCES office.accounts,
    recipient office.words NOT NULL,
    copies text[] NOT NULL DEFAULT '{}',
    subject office.words NOT NULL,
    body text NOT NULL,
    written_at timestamptz NOT NULL,
    state text NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'sent', 'failed')),
    state_at timestamptz,
    failed_why text,
    CHECK ((state = 'waiting') = (state_at IS NULL)),
    CHECK ((state = 'failed') = (failed_why IS NOT NULL))
);
COMMENT ON TABLE office.letters IS 'Letters to clients and colleagues, as they were written';
COMMENT ON COLUMN office.letters.kind IS 'critical_balance, activation, liquidation, …';
COMMENT ON COLUMN office.letters.once_key IS 'What the letter is about, so that it is written once however often its job runs';
COMMENT ON COLUMN office.letters.written_at IS 'By the business clock';
CREATE INDEX letters_client ON office.letters (client_id, letter_id) WHERE client_id IS NOT NULL;
CREATE INDEX letters_account ON office.letters (account_id, letter_id) WHERE account_id IS NOT NULL;
CREATE INDEX letters_kind ON office.letters (kind, letter_id);
CREATE INDEX letters_waiting ON office.letters (letter_id) WHERE state = 'waiting';

CREATE TABLE office.letter_attachments (
    letter_id bigint NOT NULL REFERENCES office.letters,
    place smallint NOT NULL CHECK (place > 0),
    name office.words NOT NULL,
    media_type text NOT NULL,
    content bytea NOT NULL,
    PRIMARY KEY (letter_id, place)
);
COMMENT ON TABLE office.letter_attachments IS 'Files that went with a letter';
CREATE TRIGGER letter_attachments_only_grow BEFORE UPDATE OR DELETE OR TRUNCATE ON office.letter_attachments
    FOR EACH STATEMENT EXECUTE FUNCTION plumbing.refuse_change();

CREATE FUNCTION office.guard_letter() RETURNS trigger
LANGUAGE plpgsql SET search_path = '' AS $$
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
CREATE TRIGGER guard_letter BEFORE UPDATE ON office.letters
    FOR EACH ROW EXECUTE FUNCTION office.guard_letter();
CREATE TRIGGER letters_stay BEFORE DELETE OR TRUNCATE ON office.letters
    FOR EACH STATEMENT EXECUTE FUNCTION plumbing.refuse_change();

-- The business clock ----------------------------------------------------------------------------------------------------

CREATE TABLE office.business_clock (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    mode text NOT NULL CHECK (mode IN ('real', 'shifted', 'stopped')),
    offset_us bigint,
    stopped_at timestamptz,
    set_at timestamptz NOT NULL,
    set_by text NOT NULL,
    CHECK ((mode = 'shifted') = (offset_us IS NOT NULL)),
    CHECK ((mode = 'stopped') = (stopped_at IS NOT NULL))
);
COMMENT ON TABLE office.business_clock IS 'What time it is for the office, where the settings allow to set it; no row: the real time';
COMMENT ON COLUMN office.business_clock.offset_us IS 'How far it is ahead of the real time, in microseconds';

GRANT SELECT ON office.letters, office.letter_attachments, office.business_clock
    TO tollgate_app, tollgate_projector, tollgate_relay, tollgate_readonly;
GRANT INSERT, UPDATE ON office.letters, office.business_clock TO tollgate_app;
GRANT INSERT ON office.letter_attachments TO tollgate_app;
