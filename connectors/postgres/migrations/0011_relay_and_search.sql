-- The relay lifts the locks whose time is over: it is the one process of its kind that is at work, and the one that
-- tells the engine. It may do no more with locks than that, and writes its change as any other does.
GRANT EXECUTE ON FUNCTION office.end_locks TO tollgate_relay;
GRANT INSERT ON plumbing.audit, plumbing.outbox TO tollgate_relay;
GRANT USAGE ON SEQUENCE plumbing.change_ids TO tollgate_relay;
