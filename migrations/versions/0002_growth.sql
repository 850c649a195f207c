-- By these is known which accounts moved, and what is late, however many rows there are.
-- The default comes by itself: with it at once, all rows of before would seem to be of today.
ALTER TABLE billing_records ADD COLUMN written_at timestamp with time zone;
ALTER TABLE billing_records ALTER COLUMN written_at SET DEFAULT transaction_timestamp();
CREATE INDEX ix_billing_records_written ON billing_records USING brin (written_at)
    WITH (autosummarize = on, pages_per_range = 16);

DROP INDEX ix_matters_left_behind;
CREATE INDEX ix_matters_left_behind ON matters (woken_at)
    WHERE started_at IS NULL AND closed_at IS NULL AND status = 'open';
DROP INDEX ix_matters_open;
CREATE INDEX ix_matters_open ON matters (workflow_id)
    WHERE closed_at IS NULL AND status <> 'resting';
CREATE INDEX ix_payments_unsettled ON payments (paid_at)
    WHERE settled_at IS NULL AND status IN ('succeeded', 'completed');
CREATE INDEX ix_purchases_pending ON purchases (expires_at) WHERE status = 'pending';
CREATE INDEX ix_purchases_unarchived ON purchases (created_at) WHERE archived_at IS NULL;
