-- Locked, so that two administrators can't disable each other at the same moment.
SELECT count(*) FROM (
    SELECT FROM access.users WHERE role = 'administrator' AND status = 'active' FOR UPDATE
) found
