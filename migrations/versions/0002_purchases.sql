-- The cancel of a purchase by its buyer.
ALTER TABLE invoices ADD COLUMN cancel_asked_at timestamptz;
ALTER TABLE purchases
    DROP CONSTRAINT ck_purchases_status_known,
    ADD CONSTRAINT ck_purchases_status_known CHECK (
        status IN ('pending', 'completed', 'failed', 'expired', 'canceled', 'refunded')
    ) NOT VALID;
