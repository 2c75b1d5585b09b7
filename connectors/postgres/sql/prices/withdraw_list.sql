WITH withdrawn AS (
    UPDATE office.price_list_versions
    SET state = 'withdrawn', ended_at = $2, ended_by = $3, ended_why = $4
    WHERE price_list_id = $1 AND state = 'published'
)
UPDATE office.price_lists SET removed_at = $2 WHERE price_list_id = $1
