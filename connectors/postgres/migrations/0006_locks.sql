-- Locks (§2.2) are written by the functions below and in no other way. Whoever calls them says who acts and in which role;
-- they look the user up themselves. Only a lock's author or a manager changes or lifts it. Support, whose programs log in
-- as tollgate_readonly, can ask whatever there is to ask and call none of them.

-- Who set a lock, and how to reach that person: all that others need to know of a user.
CREATE VIEW office.colleagues AS
    SELECT name, full_name, role, email, phone, status FROM access.users;
COMMENT ON VIEW office.colleagues IS 'Users as their colleagues see them: whom to ask, and how';
GRANT SELECT ON office.colleagues TO tollgate_app, tollgate_readonly;

CREATE INDEX locks_newest ON office.locks (created_at DESC, lock_id DESC);
CREATE INDEX lock_history_digits ON office.lock_history (digits);

CREATE FUNCTION office.may_set_locks(role text) RETURNS boolean
LANGUAGE sql IMMUTABLE SET search_path = '' AS $$
    SELECT role IN ('b2b', 'billing', 'manager')
$$;
COMMENT ON FUNCTION office.may_set_locks IS 'Whether a role sets locks, and changes and lifts those of its own';

CREATE FUNCTION office.may_lift_any_lock(role text) RETURNS boolean
LANGUAGE sql IMMUTABLE SET search_path = '' AS $$
    SELECT role = 'manager'
$$;
COMMENT ON FUNCTION office.may_lift_any_lock IS 'Whether a role changes and lifts everyone''s locks';

CREATE FUNCTION office.check_lock_rights(actor text, acting_as text, author text) RETURNS void
LANGUAGE plpgsql SET search_path = '' AS $$
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
COMMENT ON FUNCTION office.check_lock_rights IS 'Raises insufficient_privilege; author is null for a lock that is new';

CREATE FUNCTION office.check_lock_is_new(but text, kind text, digits text, account_id text, provider_id text) RETURNS void
LANGUAGE plpgsql SET search_path = '' AS $$
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
COMMENT ON FUNCTION office.check_lock_is_new IS 'Raises unique_violation when another lock than `but` bans the same';

CREATE FUNCTION office.lock_in_force(lock_id text, revision integer) RETURNS office.locks
LANGUAGE plpgsql SET search_path = '' AS $$
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
COMMENT ON FUNCTION office.lock_in_force IS 'A lock for whoever is about to change it, as it was read before';

CREATE FUNCTION office.set_lock(
    lock_id text, kind text, digits text, account_id text, provider_id text, reason text, ends_at timestamptz,
    actor text, acting_as text, at timestamptz
) RETURNS office.locks
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
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
COMMENT ON FUNCTION office.set_lock IS 'A new lock; its author is who acts';

CREATE FUNCTION office.change_lock(
    lock_id text, revision integer, kind text, digits text, account_id text, provider_id text, reason text,
    ends_at timestamptz, actor text, acting_as text, why text, at timestamptz
) RETURNS office.locks
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
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
COMMENT ON FUNCTION office.change_lock IS 'A lock that is in force, as it is to be; `revision` is that which it had when it was read';

CREATE FUNCTION office.lift_lock(
    lock_id text, revision integer, actor text, acting_as text, why text, at timestamptz
) RETURNS office.locks
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
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
COMMENT ON FUNCTION office.lift_lock IS 'Ends a lock: since now it denies nothing';

CREATE FUNCTION office.end_locks(actor text, why text, at timestamptz) RETURNS SETOF office.locks
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
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
COMMENT ON FUNCTION office.end_locks IS 'Lifts the locks whose time is over, as their authors have said beforehand';

REVOKE ALL ON FUNCTION office.check_lock_rights, office.check_lock_is_new, office.lock_in_force, office.set_lock,
    office.change_lock, office.lift_lock, office.end_locks FROM PUBLIC;
GRANT EXECUTE ON FUNCTION office.set_lock, office.change_lock, office.lift_lock, office.end_locks TO tollgate_app;
