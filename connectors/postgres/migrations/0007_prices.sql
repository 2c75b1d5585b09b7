-- Price lists on their way: who uploaded a version and who saw it, what was found in it, what it would do to the calls of
-- the last days.
--
-- A version is uploaded once and never edited: another upload is another version. Before it is published somebody else
-- than who uploaded it has approved it, and what was approved can't be changed any more.

ALTER TABLE office.price_list_versions
    ADD COLUMN approved_at timestamptz,
    ADD COLUMN approved_by text,
    ADD COLUMN restores bigint REFERENCES office.price_list_versions,
    ADD COLUMN reading jsonb,
    ADD CONSTRAINT approved_by_somebody CHECK ((approved_at IS NULL) = (approved_by IS NULL)),
    ADD CONSTRAINT approved_by_another CHECK (approved_by <> created_by);
COMMENT ON COLUMN office.price_list_versions.approved_by IS 'Who looked at it and would have it published; never who uploaded it';
COMMENT ON COLUMN office.price_list_versions.restores IS 'The published version that it is equal to, where it was made to roll back to that';
COMMENT ON COLUMN office.price_list_versions.reading IS 'What was noticed when the file was read: sheet, lines, doubles';
CREATE INDEX price_list_versions_restores ON office.price_list_versions (restores) WHERE restores IS NOT NULL;

ALTER TABLE office.prices ADD COLUMN line integer CHECK (line > 0);
COMMENT ON COLUMN office.prices.line IS 'Of the file that it came from; null where that is not known';

-- Four eyes: whoever has the rights of a process can't publish what only its author has seen. The owner may, who loads
-- reference folders. To roll back is to publish what was seen before.
CREATE FUNCTION office.guard_approval() RETURNS trigger
LANGUAGE plpgsql SET search_path = '' AS $$
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
CREATE TRIGGER guard_approval BEFORE UPDATE ON office.price_list_versions
    FOR EACH ROW EXECUTE FUNCTION office.guard_approval();

CREATE FUNCTION office.guard_approved_prices() RETURNS trigger
LANGUAGE plpgsql SET search_path = '' AS $$
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
CREATE TRIGGER guard_new_approved_prices AFTER INSERT ON office.prices REFERENCING NEW TABLE AS touched
    FOR EACH STATEMENT EXECUTE FUNCTION office.guard_approved_prices();
CREATE TRIGGER guard_gone_approved_prices AFTER DELETE ON office.prices REFERENCING OLD TABLE AS touched
    FOR EACH STATEMENT EXECUTE FUNCTION office.guard_approved_prices();

-- Checks ----------------------------------------------------------------------------------------------------------------

CREATE TABLE office.price_checks (
    check_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    version_id bigint NOT NULL REFERENCES office.price_list_versions,
    kind text NOT NULL CHECK (kind IN ('lint', 'rehearsal')),
    at timestamptz NOT NULL,
    asked_at timestamptz NOT NULL,
    asked_by text NOT NULL,
    parameters jsonb NOT NULL DEFAULT '{}',
    state text NOT NULL DEFAULT 'running' CHECK (state IN ('running', 'done', 'failed')),
    stage text NOT NULL DEFAULT '',
    done bigint NOT NULL DEFAULT 0,
    total bigint NOT NULL DEFAULT 0,
    beat_at timestamptz NOT NULL DEFAULT now(),
    ended_at timestamptz,
    result jsonb,
    failure text,
    CHECK ((state = 'running') = (ended_at IS NULL)),
    CHECK ((state = 'done') = (result IS NOT NULL)),
    CHECK ((state = 'failed') = (failure IS NOT NULL))
);
COMMENT ON TABLE office.price_checks IS 'Looks at a version before it is published: lint, and rehearsals on past calls';
COMMENT ON COLUMN office.price_checks.at IS 'The moment that it was looked at for: when the version is to come into force';
COMMENT ON COLUMN office.price_checks.asked_at IS 'By the machine''s clock, as ended_at';
COMMENT ON COLUMN office.price_checks.beat_at IS 'When the process that works on it was last heard of, by its own clock';
COMMENT ON COLUMN office.price_checks.stage IS 'What is being done, in words';
CREATE INDEX price_checks_version ON office.price_checks (version_id, kind, check_id);

CREATE TABLE office.price_findings (
    check_id bigint NOT NULL REFERENCES office.price_checks,
    place integer NOT NULL,
    rule text COLLATE "C" NOT NULL,
    severity text COLLATE "C" NOT NULL CHECK (severity IN ('error', 'warning', 'note')),
    prefix text COLLATE "C" NOT NULL,
    prefixes integer NOT NULL CHECK (prefixes > 0),
    other_list_id text COLLATE "C",
    provider_id text COLLATE "C",
    lines integer[] NOT NULL,
    text text NOT NULL,
    remedy text NOT NULL,
    PRIMARY KEY (check_id, place)
);
COMMENT ON TABLE office.price_findings IS 'What a lint found, the gravest first';
COMMENT ON COLUMN office.price_findings.prefixes IS 'How many prefixes it stands for; `prefix` is one of them';
COMMENT ON COLUMN office.price_findings.lines IS 'Of the uploaded file';

-- What there is to know of a version but its prices.
CREATE VIEW office.versions_seen AS
SELECT v.price_list_id, v.version_id, v.number, v.kind, v.state, v.name, v.provider_id, v.currency, v.rounding,
       v.decimals, v.valid_from, v.valid_to, v.prices, v.digest, v.source, v.created_at, v.created_by, v.approved_at,
       v.approved_by, r.number AS restores, v.in_force_from, v.published_at, v.published_by, v.ended_at, v.ended_by,
       v.ended_why, c.state AS lint_state, c.result AS lint_result, v.reading
FROM office.price_list_versions v
LEFT JOIN office.price_list_versions r ON r.version_id = v.restores
LEFT JOIN LATERAL (
    -- A process that was not heard of for a minute is gone, and its work with it.
    SELECT CASE WHEN k.state = 'running' AND k.beat_at < now() - interval '1 minute' THEN 'failed' ELSE k.state END
               AS state,
           k.result
    FROM office.price_checks k
    WHERE k.version_id = v.version_id AND k.kind = 'lint' ORDER BY k.check_id DESC LIMIT 1
) c ON true;
COMMENT ON VIEW office.versions_seen IS 'Versions of price lists with the latest lint of each';

-- What calls of a moment would pay by one version and by another: of rows for the same calls the one that began last
-- counts. Compared by the price of the first minute, whole steps, without least and greatest charge.
CREATE FUNCTION office.price_difference(old_version bigint, new_version bigint, at timestamptz)
RETURNS TABLE (
    prefix text, from_second integer, service text, place text, incoming_service text, band_id text,
    old_connect_fee bigint, old_price bigint, old_per integer, old_step integer, old_min bigint, old_max bigint,
    old_attempt_fee bigint, old_line integer, old_minute numeric,
    new_connect_fee bigint, new_price bigint, new_per integer, new_step integer, new_min bigint, new_max bigint,
    new_attempt_fee bigint, new_line integer, new_minute numeric,
    kind text, percent numeric
) LANGUAGE sql STABLE AS $$
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
COMMENT ON FUNCTION office.price_difference IS 'Prices of two versions of a list side by side: new, gone, dearer, cheaper, changed, same';

GRANT SELECT ON office.price_checks, office.price_findings, office.versions_seen
    TO tollgate_app, tollgate_projector, tollgate_relay, tollgate_readonly;
GRANT INSERT ON office.price_checks, office.price_findings TO tollgate_app;
GRANT UPDATE (state, stage, done, total, beat_at, ended_at, result, failure) ON office.price_checks TO tollgate_app;
