-- New subscribers behind $1, of whom the days to pay began before the day $2
SELECT subscriber_id, number, reserved_on, planned_on FROM office.subscribers
WHERE status = 'new' AND subscriber_id > $1 AND greatest(reserved_on, coalesce(planned_on, reserved_on)) < $2
ORDER BY subscriber_id LIMIT $3
