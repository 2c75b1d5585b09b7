-- The ledger: what each movement and each rated CDR did, in double entry. Rows come from the projector alone, in the
-- transaction that writes the fact they come from, and are never changed or deleted.
--
-- An entry is one or two transfers (a call is sold, and bought). A transfer takes an amount from one account of the ledger
-- to another, so it can't be out of balance.

CREATE TABLE books.accounts (
    ledger_id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind text COLLATE "C" NOT NULL,
    owner text COLLATE "C" NOT NULL,
    UNIQUE (kind, owner)
);
COMMENT ON TABLE books.accounts IS
    'The chart of accounts: kind says what it is (client, cash, revenue, …), owner whose (an account, a service, a '
    'provider; empty where there is one only).';

CREATE TABLE books.transfers (
    day date NOT NULL,
    source_partition integer NOT NULL,
    source_offset bigint NOT NULL,
    amount_micros bigint NOT NULL CHECK (amount_micros > 0),
    balance_after_micros bigint,
    recorded_at timestamptz NOT NULL,
    debit integer NOT NULL,
    credit integer NOT NULL CHECK (credit <> debit),
    cause text COLLATE "C" NOT NULL,
    cause_id text COLLATE "C" NOT NULL,
    account_id text COLLATE "C",
    CHECK ((account_id IS NULL) = (balance_after_micros IS NULL))
) PARTITION BY RANGE (day);
COMMENT ON TABLE books.transfers IS
    'An amount from the ledger''s account `debit` to `credit`, with its cause. `day` is the operator''s business day of the '
    'call''s end or of the command; recorded_at is when the engine booked it.';
COMMENT ON COLUMN books.transfers.account_id IS
    'The client''s account that is moved, with its balance afterwards; null for the wholesale cost of a call.';
CREATE INDEX transfers_account ON books.transfers (account_id, day) WHERE account_id IS NOT NULL;

CREATE FUNCTION books.ensure_month(month date) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
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
COMMENT ON FUNCTION books.ensure_month IS 'Makes the partition of a month where it is missing';
REVOKE ALL ON FUNCTION books.ensure_month FROM PUBLIC;
GRANT EXECUTE ON FUNCTION books.ensure_month TO tollgate_app, tollgate_projector;

-- Rights ----------------------------------------------------------------------------------------------------------------

CREATE TRIGGER stays BEFORE UPDATE OR DELETE ON books.transfers
    FOR EACH ROW EXECUTE FUNCTION plumbing.refuse_change();
CREATE TRIGGER only_grows BEFORE TRUNCATE ON books.transfers
    FOR EACH STATEMENT EXECUTE FUNCTION plumbing.refuse_change();
CREATE TRIGGER stays BEFORE UPDATE OR DELETE OR TRUNCATE ON books.accounts
    FOR EACH STATEMENT EXECUTE FUNCTION plumbing.refuse_change();

GRANT SELECT ON ALL TABLES IN SCHEMA books TO tollgate_app, tollgate_projector, tollgate_relay, tollgate_readonly;
GRANT INSERT ON books.accounts, books.transfers TO tollgate_projector;
