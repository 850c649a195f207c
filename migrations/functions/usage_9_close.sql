-- How many records one transaction completes: it holds the account's lock meanwhile.
CREATE OR REPLACE FUNCTION usage_part() RETURNS integer LANGUAGE sql IMMUTABLE AS 'SELECT 5000';

-- Records that an invoice bills are completed: their status with its event [F20], and the statistics
-- of their days. Answers how many. The account's lock is held.
CREATE OR REPLACE FUNCTION usage_complete(
    p_account_id uuid, p_records uuid[], p_invoice text, p_at timestamptz)
RETURNS integer
LANGUAGE sql
SET enable_seqscan = off
AS $$
    WITH settled AS (
        UPDATE billing_records
        SET billing_status = 'completed', updated_at = p_at
        WHERE id = ANY (p_records) AND account_id = p_account_id AND billing_status = 'pending'
        RETURNING id, period_start, day_at, meter, service_type, currency, usage_amount, charged_amount,
            total_amount, included_amount + charged_amount AS quantity, occurred_at
    ), told AS (
        INSERT INTO billing_events (
            id, account_id, billing_id, status_before, status_after, detail, at)
        SELECT uuidv7(), p_account_id, id, 'pending', 'completed',
            jsonb_build_object('invoice_id', p_invoice), p_at
        FROM settled
    ), counted AS (
        INSERT INTO usage_counters AS c
        SELECT
            p_account_id, '', 'day', s.period_start, s.day_at, s.meter,
            concat_ws('|', coalesce(s.service_type, ''), 'subscription_included', f.status,
                s.currency),
            f.sign * sum(s.quantity), f.sign * count(*), max(s.usage_amount),
            0, 'epoch', 0, f.sign * sum(s.charged_amount),
            f.sign * sum(s.total_amount)
        FROM settled AS s CROSS JOIN (VALUES ('pending', -1), ('completed', 1)) AS f(status, sign)
        GROUP BY s.period_start, s.day_at, s.meter, s.service_type, s.currency, f.status, f.sign
        ON CONFLICT (account_id, owner, grain, period_start, bucket, meter, facet) DO UPDATE SET
            quantity = c.quantity + excluded.quantity, events = c.events + excluded.events,
            maximum = greatest(c.maximum, excluded.maximum),
            overage = c.overage + excluded.overage,
            overage_total = c.overage_total + excluded.overage_total
    )
    SELECT count(*)::integer FROM settled
$$;

-- The uses of one meter in one cycle that a usage line covers are settled. One record more, the
-- `true_up`, carries what the line differs from them, so that records and lines agree to the cent.
-- Of very many the first part is completed here, and the rest is listed for the account's matter:
-- what comes in meanwhile is no part of it. The account's lock is held.
CREATE OR REPLACE FUNCTION usage_close(
    p_account_id uuid, p_meter text, p_start timestamptz, p_end timestamptz, p_zone text,
    p_currency text, p_true_up numeric, p_invoice text, p_at timestamptz)
RETURNS void
LANGUAGE plpgsql
SET enable_seqscan = off
AS $$
DECLARE
    one record;
BEGIN
    FOR one IN
        SELECT part::integer AS part, array_agg(id) AS records FROM (
            SELECT id, (row_number() OVER (ORDER BY occurred_at) - 1) / usage_part() AS part
            FROM billing_records
            WHERE account_id = p_account_id
                -- A use may be reported a little ahead of its time; clocks differ a little.
                AND occurred_at >= p_start - interval '5 minutes'
                AND occurred_at < p_end + interval '5 minutes'
                AND period_start = p_start AND meter = p_meter AND currency = p_currency
                AND billing_method = 'subscription_included' AND billing_status = 'pending'
                -- What an early invoice bills may still be listed when the cycle closes.
                AND id NOT IN (
                    SELECT unnest(records) FROM usage_settlements
                    WHERE account_id = p_account_id)) AS r
        GROUP BY 1 ORDER BY 1
    LOOP
        IF one.part = 0 THEN
            PERFORM usage_complete(p_account_id, one.records, p_invoice, p_at);
        ELSE
            INSERT INTO usage_settlements (
                account_id, invoice, meter, start_at, part, records, began_at)
            VALUES (p_account_id, p_invoice, p_meter, p_start, one.part, one.records, p_at);
        END IF;
    END LOOP;

    INSERT INTO billing_records (
        id, account_id, request_hash, meter, usage_amount, included_amount, charged_amount,
        unit_price, total_amount, currency, billing_method, billing_status, is_free_tier, is_late,
        detail, period_start, day_at, occurred_at, created_at, updated_at, kind)
    SELECT
        uuidv7(), p_account_id, 0, p_meter, 0, 0, 0, 0, p_true_up, p_currency,
        'subscription_included', 'completed', false, false,
        jsonb_build_object('invoice_id', p_invoice), p_start,
        date_trunc('day', p_at AT TIME ZONE p_zone) AT TIME ZONE p_zone, p_at, p_at, p_at, 'true_up'
    WHERE p_true_up <> 0;

    IF one.part > 0 THEN
        PERFORM account_watch(p_account_id, p_at, p_at);
    END IF;
END;
$$;

-- The next part of the records that an account's invoices bill; answers how many. Takes the
-- account's lock.
CREATE OR REPLACE FUNCTION usage_complete_part(p_account_id uuid, p_at timestamptz)
RETURNS integer
LANGUAGE plpgsql
SET enable_seqscan = off
AS $$
DECLARE
    todo usage_settlements;
BEGIN
    PERFORM 1 FROM credit_balances WHERE account_id = p_account_id FOR NO KEY UPDATE;
    DELETE FROM usage_settlements
    WHERE (account_id, invoice, meter, start_at, part) = (
        SELECT account_id, invoice, meter, start_at, part FROM usage_settlements
        WHERE account_id = p_account_id ORDER BY invoice, meter, start_at, part LIMIT 1)
    RETURNING * INTO todo;
    RETURN usage_complete(p_account_id, todo.records, todo.invoice, p_at);
END;
$$;
