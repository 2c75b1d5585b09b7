SELECT place, rule, severity, prefix, prefixes, other_list_id, provider_id, lines, text, remedy
FROM office.price_findings
WHERE check_id = $1 AND place > $2 AND ($3::text IS NULL OR rule = $3) AND ($4::text IS NULL OR severity = $4)
ORDER BY place LIMIT $5
