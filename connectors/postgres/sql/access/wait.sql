UPDATE access.failed_logins SET wait_until = greatest(wait_until, $2) WHERE subject = $1
