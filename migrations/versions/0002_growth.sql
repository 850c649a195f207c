-- By these is known which accounts moved, and what is late, however many rows there are.
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

REVOKE INSERT, UPDATE, DELETE, TRUNCATE ON usage_months FROM billing_app, billing_operator;
REVOKE ALL ON FUNCTION usage_make_months FROM PUBLIC;
GRANT EXECUTE ON FUNCTION usage_make_months TO billing_app, billing_operator;
SELECT usage_make_months(6);
