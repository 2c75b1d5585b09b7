-- For the rest of the transaction: plan each query for its own arguments, in the order of an index
SELECT set_config('plan_cache_mode', 'force_custom_plan', true), set_config('enable_sort', 'off', true),
    set_config('enable_bitmapscan', 'off', true)
