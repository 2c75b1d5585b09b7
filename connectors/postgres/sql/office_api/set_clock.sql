INSERT INTO office.business_clock (mode, offset_us, stopped_at, set_at, set_by) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (one) DO UPDATE
SET mode = excluded.mode, offset_us = excluded.offset_us, stopped_at = excluded.stopped_at, set_at = excluded.set_at,
    set_by = excluded.set_by
