-- Whether any price names the place $1. Asked only of a word that nothing else names: it looks at prices without an index.
SELECT EXISTS (SELECT FROM office.prices WHERE place = $1)
