-- Complete the uses of one meter and cycle that an invoice line covers. One more record, the
-- `true_up`, is the difference between the line and them, so that records and lines agree to the
-- cent. If there are very many, the first part is completed here and the rest is listed for the
-- account's matter; later uses are not included. The account's lock is held.
CREATE OR REPLACE FUNCTION usage_bill_line(
    p_account_id uuid, p_line usage_line, p_at timestamptz)
RETURNS void
LANGUAGE plpgsql
SET enable_seqscan = off
AS $$
DECLARE
    at_once CONSTANT integer := 5000; -- one transaction holds the account's lock meanwhile
    bundle record;
BEGIN
    FOR bundle IN
        SELECT part::integer AS part, array_agg(id) AS records FROM (
            SELECT id, (row_number() OVER (ORDER BY occurred_at) - 1) / at_once AS part
            FROM billing_records
            WHERE account_id = p_account_id
                AND occurred_at >= p_line.start_at - usage_early_limit()
                -- A change that waited for its money ends the cycle in the past.
                AND occurred_at < greatest(p_line.end_at, p_at) + usage_early_limit()
                AND period_start = p_line.start_at AND meter = p_line.meter
                AND currency = p_line.currency
                AND billing_method = 'subscription_included' AND billing_status = 'pending'
                -- What an early invoice bills may still be listed when the cycle closes.
                AND id NOT IN (
                    SELECT unnest(records) FROM usage_settlements
                    WHERE account_id = p_account_id)) AS r
        GROUP BY 1 ORDER BY 1
    LOOP
        IF bundle.part = 0 THEN
            PERFORM usage_complete(p_account_id, bundle.records, p_line.invoice, p_at);
        ELSE
            INSERT INTO usage_settlements (
                account_id, invoice, meter, start_at, part, records, began_at)
            VALUES (p_account_id, p_line.invoice, p_line.meter, p_line.start_at, bundle.part,
                bundle.records, p_at);
        END IF;
    END LOOP;

    INSERT INTO billing_records (
        id, account_id, request_hash, meter, usage_amount, included_units, charged_units,
        unit_price, total_amount, currency, billing_method, billing_status, is_free_tier, is_late,
        detail, period_start, day_at, occurred_at, created_at, updated_at, kind,
        month)
    SELECT
        n.id, p_account_id, 0, p_line.meter, 0, 0, 0, 0, p_line.true_up, p_line.currency,
        'subscription_included', 'completed', false, false,
        jsonb_build_object('invoice_id', p_line.invoice), p_line.start_at,
        date_trunc('day', p_at, p_line.zone), p_at, p_at, p_at, 'true_up',
        usage_month_of(n.id, false)
    FROM (SELECT uuidv7() AS id OFFSET 0) AS n
    WHERE p_line.true_up <> 0;

    IF bundle.part > 0 THEN
        PERFORM account_watch(p_account_id, p_at, p_at);
    END IF;
END;
$$;
