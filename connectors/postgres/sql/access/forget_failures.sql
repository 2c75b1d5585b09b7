DELETE FROM access.failed_logins WHERE subject = $1
