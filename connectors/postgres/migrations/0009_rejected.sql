-- Rejected events are mended: submitted again, as they were or edited, or set aside with a reason. What was submitted goes
-- the way of every change of the office, through the outbox; here stays who did it, why, and the bytes that went out.

ALTER TABLE facts.rejected
    ADD COLUMN set_aside_at timestamptz,
    ADD COLUMN set_aside_by text,
    ADD COLUMN set_aside_why text,
    ADD CONSTRAINT set_aside_by_somebody CHECK (
        (set_aside_at IS NULL) = (set_aside_by IS NULL) AND (set_aside_at IS NULL) = (set_aside_why IS NULL)),
    ADD CONSTRAINT resubmitted_by_somebody CHECK ((resubmitted_at IS NULL) = (resubmitted_by IS NULL));
COMMENT ON COLUMN facts.rejected.resubmitted_at IS 'When it was submitted again, the last time; null: never';
COMMENT ON COLUMN facts.rejected.set_aside_at IS 'When somebody said that it is not to be submitted again; null: nobody did';
-- What is still to be done, the newest first.
CREATE INDEX rejected_open ON facts.rejected (recorded_at, source_partition, source_offset)
    WHERE resubmitted_at IS NULL AND set_aside_at IS NULL;
CREATE INDEX rejected_account ON facts.rejected (account_id, recorded_at) WHERE account_id IS NOT NULL;
GRANT UPDATE (set_aside_at, set_aside_by, set_aside_why) ON facts.rejected TO tollgate_app;

CREATE TABLE office.resubmissions (
    source_partition integer NOT NULL,
    source_offset bigint NOT NULL,
    number integer NOT NULL CHECK (number > 0),
    at timestamptz NOT NULL,
    author text NOT NULL CHECK (author <> ''),
    reason text NOT NULL CHECK (reason <> ''),
    edited boolean NOT NULL,
    forced boolean NOT NULL,
    event_id text COLLATE "C" NOT NULL,
    key text COLLATE "C",
    payload bytea NOT NULL,
    change_id bigint NOT NULL,
    PRIMARY KEY (source_partition, source_offset, number),
    FOREIGN KEY (source_partition, source_offset) REFERENCES facts.rejected
);
COMMENT ON TABLE office.resubmissions IS 'Each time that a rejected event was submitted again: by whom, why, and the bytes that were sent';
COMMENT ON COLUMN office.resubmissions.number IS '1: the first time';
COMMENT ON COLUMN office.resubmissions.edited IS 'Whether other bytes were sent than those that had been rejected';
COMMENT ON COLUMN office.resubmissions.forced IS 'Whether it was sent though it had been sent before';
COMMENT ON COLUMN office.resubmissions.key IS 'Of the record on the topic; null: an event that names no account and no number';
COMMENT ON COLUMN office.resubmissions.change_id IS 'Of the audit and the outbox';
CREATE TRIGGER only_grows BEFORE UPDATE OR DELETE OR TRUNCATE ON office.resubmissions
    FOR EACH STATEMENT EXECUTE FUNCTION plumbing.refuse_change();
GRANT SELECT, INSERT ON office.resubmissions TO tollgate_app;
GRANT SELECT ON office.resubmissions TO tollgate_projector, tollgate_relay, tollgate_readonly;

COMMENT ON COLUMN plumbing.outbox.kind IS 'command, event (a rejected one, submitted again), or a kind of reference record: account, provider, tariff_plan, price_list, band, lock, number, discounts';
COMMENT ON COLUMN plumbing.outbox.key IS 'The id of what the record is about; of a command its account, of an event where it was rejected';
COMMENT ON COLUMN plumbing.outbox.payload IS 'The record; null: it is gone. Of a price list: {"version_id": n}, the published version. Of an event: its topic, key and bytes (base64)';
COMMENT ON COLUMN plumbing.outbox.reference_version IS 'Which version it became; null with published_at: none, for nothing differed, or it is a command or an event';
