-- Up to the moment $1 all is known. Whoever looked earlier, and writes later, takes nothing back.
INSERT INTO facts.known (until, seen_at) VALUES ($1, now())
ON CONFLICT (one) DO UPDATE SET until = greatest(known.until, excluded.until), seen_at = excluded.seen_at
