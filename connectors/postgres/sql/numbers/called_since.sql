SELECT EXISTS (SELECT FROM facts.ncv WHERE number = $1 AND last_at >= $2 AND calls > 0)
