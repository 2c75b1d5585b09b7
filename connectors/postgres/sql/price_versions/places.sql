-- Places of service that anything names.
SELECT place FROM office.providers WHERE place IS NOT NULL AND removed_at IS NULL
UNION SELECT place FROM office.accounts WHERE place IS NOT NULL
UNION SELECT place FROM office.numbers WHERE place IS NOT NULL AND removed_at IS NULL
ORDER BY 1
