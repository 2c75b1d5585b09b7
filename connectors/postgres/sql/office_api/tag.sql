SELECT tag, name FROM office.tags WHERE tag = $1 FOR NO KEY UPDATE
