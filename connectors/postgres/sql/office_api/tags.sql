SELECT tag, name FROM office.tags WHERE tag > $1 ORDER BY tag LIMIT $2
