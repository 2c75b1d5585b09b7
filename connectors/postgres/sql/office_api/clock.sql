SELECT mode, offset_us, stopped_at, set_at, set_by FROM office.business_clock
