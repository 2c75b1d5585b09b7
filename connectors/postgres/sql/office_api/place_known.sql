-- Whether a price or a provider has a place; any will do where no price knows places.
SELECT EXISTS (SELECT FROM office.prices WHERE place = $1)
    OR EXISTS (SELECT FROM office.providers WHERE place = $1 AND removed_at IS NULL)
    OR NOT EXISTS (SELECT FROM office.prices WHERE place IS NOT NULL)
