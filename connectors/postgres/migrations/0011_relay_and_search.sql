-- The relay lifts the locks whose time is over: it is the one process of its kind that is at work, and the one that
-- tells the engine. It may do no more with locks than that, and writes its change as any other does.
GRANT EXECUTE ON FUNCTION office.end_locks TO tollgate_relay;
GRANT INSERT ON plumbing.audit, plumbing.outbox TO tollgate_relay;
GRANT USAGE ON SEQUENCE plumbing.change_ids TO tollgate_relay;

-- Clients are found by parts of the words of their names (§1.1, D47), in any place of a word. Each word is taken apart in
-- threes of signs, with ^ before it and $ behind it: whoever looks for a part that has three signs, those two among them,
-- is shown the clients that may have it by the index.
CREATE FUNCTION office.word_parts(words text[]) RETURNS text[]
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
    SELECT coalesce(array_agg(DISTINCT substr('^' || w || '$', i, 3)), '{}')
    FROM unnest(words) AS w, generate_series(1, length(w)) AS i
$$;
COMMENT ON FUNCTION office.word_parts IS 'Three signs after the other of ^word$, for each word; backoffice/clients.py makes the same of what is looked for';
CREATE INDEX clients_word_parts ON office.clients USING gin (office.word_parts(search_words));
-- Lists of clients go by name.
CREATE INDEX clients_by_name ON office.clients (name, client_id);
