-- Clients and accounts are found by whatever mentions them (§3.3), and names by all their words (§1.1, D47): a word is what
-- stands between signs that are no letters or digits.

CREATE FUNCTION office.words_of(words text) RETURNS text[]
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
    SELECT coalesce(pg_catalog.regexp_split_to_array(nullif(pg_catalog.btrim(pg_catalog.regexp_replace(
        pg_catalog.translate(pg_catalog.lower(pg_catalog.normalize(words) COLLATE pg_catalog.pg_c_utf8), 'ё', 'е'),
        '[^[:alnum:]]+', ' ', 'g'
    )), ''), ' '), '{}')
$$;
COMMENT ON FUNCTION office.words_of IS 'Words of a text as they are searched: small letters, ё as е; backoffice/office.py makes the same of names';

-- Declared immutable, which array_to_string is for texts.
CREATE FUNCTION office.words_of_all(texts text[]) RETURNS text[]
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$ SELECT office.words_of(pg_catalog.array_to_string(texts, ' ')) $$;
COMMENT ON FUNCTION office.words_of_all IS 'Words of some texts one after the other, without those that are null';

UPDATE office.clients
SET search_words = office.words_of(name) || ARRAY(
    SELECT w FROM unnest(office.words_of_all(ARRAY[surname, given_name, patronymic])) WITH ORDINALITY AS of_person(w, place)
    WHERE w <> ALL (office.words_of(name)) ORDER BY place
);
COMMENT ON COLUMN office.clients.search_words IS
    'Words of the name and of a person''s names as they are searched, in their order (§1.1, D47)';

ALTER TABLE office.clients ADD COLUMN mention_words text[] COLLATE "C" GENERATED ALWAYS AS (office.words_of_all(
    ARRAY[client_id::text, name::text, surname, given_name, patronymic, city, inn, kpp, legal_address, manager, seller,
          region, comment] || phones || emails
)) STORED;
COMMENT ON COLUMN office.clients.mention_words IS 'Words of all that is known of the client (§3.3)';
CREATE INDEX clients_mention_parts ON office.clients USING gin (office.word_parts(mention_words));

ALTER TABLE office.accounts ADD COLUMN mention_words text[] COLLATE "C" GENERATED ALWAYS AS (office.words_of_all(
    ARRAY[account_id::text, place::text, manager, comment]
)) STORED;
COMMENT ON COLUMN office.accounts.mention_words IS 'Words of what the office has written of the account (§3.3)';
CREATE INDEX accounts_mention_parts ON office.accounts USING gin (office.word_parts(mention_words));

-- Services are named in small letters, as events name them; what was connected under another spelling was never found.
UPDATE office.account_services s SET service = lower(btrim(service))
WHERE service <> lower(btrim(service)) AND btrim(service) <> '' AND NOT EXISTS (
    -- What an account has under several spellings stays as it is: both may be connected.
    SELECT FROM office.account_services o
    WHERE o.account_id = s.account_id AND lower(btrim(o.service)) = lower(btrim(s.service)) AND o.service <> s.service
);

-- A payment that came past the office can be taken back too (D46): what is reversed is a command of the office's or a
-- movement that the engine told of. That there is one, the use case checks.
ALTER TABLE office.commands DROP CONSTRAINT commands_reverses_fkey;

-- Whether any price knows a place.
CREATE INDEX prices_place ON office.prices (place) WHERE place IS NOT NULL;
