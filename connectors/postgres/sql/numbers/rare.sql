-- A further condition of the search, where only availabilities that do not depend on calls are wanted: it has an index
AND (n.saleable <> 'depends_on_ncv' OR n.fmtn OR n.place = 'Агентские номера')
