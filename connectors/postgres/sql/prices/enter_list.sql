-- The list's row is locked in any case: versions of a list are numbered one after the other.
INSERT INTO office.price_lists (price_list_id, kind) VALUES ($1, $2)
ON CONFLICT (price_list_id) DO UPDATE SET kind = price_lists.kind
