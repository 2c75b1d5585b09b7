office.word_parts(c.search_words) @> $10::text[]
AND ' ' || array_to_string(c.search_words, ' ') || ' ' LIKE ALL ($11::text[])
