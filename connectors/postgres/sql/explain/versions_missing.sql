-- Versions up to $1 that no row of the outbox became: the first of them, and how many there are.
WITH known AS (
    SELECT DISTINCT reference_version AS version FROM plumbing.outbox WHERE reference_version <= $1
)
SELECT $1 - (SELECT count(*) FROM known) AS missing,
       (SELECT min(v.version) FROM (
            SELECT 1::bigint AS version UNION ALL SELECT version + 1 FROM known
        ) v WHERE v.version <= $1 AND NOT EXISTS (SELECT FROM known k WHERE k.version = v.version)) AS first
