-- The cycle that brought credits which outlive it, and the ends they had before the one of now.
ALTER TABLE credit_lots ADD cycle_end timestamptz, ADD ends_before jsonb;
