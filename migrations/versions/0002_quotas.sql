-- Captures that a budget counts.
ALTER TABLE budgets ADD captured numeric(27, 12) NOT NULL DEFAULT '0',
    ADD captured_from timestamptz;
