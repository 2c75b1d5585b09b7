' ' || array_to_string(c.search_words, ' ') || ' ' LIKE ALL ($11::text[])
