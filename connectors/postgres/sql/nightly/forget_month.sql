SELECT facts.forget_month($1)
