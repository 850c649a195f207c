-- The cycle that brought credits which outlive it.
ALTER TABLE credit_lots ADD cycle_end timestamptz;
