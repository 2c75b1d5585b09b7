SELECT wait_until FROM access.failed_logins WHERE subject = $1
