-- Uses of one meter in one closed cycle are completed, the oldest first: their status with its event
-- [F20], and the statistics of their days. Answers how many, and the time of the last. The account's
-- lock is held.
CREATE OR REPLACE FUNCTION usage_complete(
    p_account_id uuid, p_meter text, p_start timestamptz, p_from timestamptz, p_end timestamptz,
    p_currency text, p_late boolean, p_limit integer, p_invoice text, p_at timestamptz,
    OUT completed integer, OUT done_to timestamptz)
LANGUAGE sql
SET enable_seqscan = off
AS $$
    WITH settled AS (
        UPDATE billing_records AS r
        SET billing_status = 'completed', updated_at = p_at
        FROM (
            SELECT id FROM billing_records
            WHERE account_id = p_account_id
                -- A use may be reported a little ahead of its time.
                AND occurred_at >= p_from AND occurred_at < p_end + interval '5 minutes'
                AND period_start = p_start AND meter = p_meter AND currency = p_currency
                AND billing_method = 'subscription_included' AND billing_status = 'pending'
                AND is_late = p_late
            ORDER BY occurred_at LIMIT p_limit) AS chosen
        WHERE r.id = chosen.id
        RETURNING r.id, r.day_at, r.service_type, r.usage_amount, r.charged_amount,
            r.total_amount, r.included_amount + r.charged_amount AS quantity, r.occurred_at
    ), told AS (
        INSERT INTO billing_events (
            id, account_id, billing_id, status_before, status_after, detail, at)
        SELECT uuidv7(), p_account_id, id, 'pending', 'completed',
            jsonb_build_object('invoice_id', p_invoice), p_at
        FROM settled
    ), counted AS (
        INSERT INTO usage_counters AS c
        SELECT
            p_account_id, '', 'day', s.day_at, p_meter,
            concat_ws('|', coalesce(s.service_type, ''), 'subscription_included', f.status,
                p_currency),
            f.sign * sum(s.quantity), f.sign * count(*), max(s.usage_amount),
            max(s.usage_amount), max(s.occurred_at), 0, f.sign * sum(s.charged_amount),
            f.sign * sum(s.total_amount)
        FROM settled AS s CROSS JOIN (VALUES ('pending', -1), ('completed', 1)) AS f(status, sign)
        GROUP BY s.day_at, s.service_type, f.status, f.sign
        ON CONFLICT (account_id, owner, grain, bucket, meter, facet) DO UPDATE SET
            quantity = c.quantity + excluded.quantity, events = c.events + excluded.events,
            overage = c.overage + excluded.overage,
            overage_total = c.overage_total + excluded.overage_total
    )
    SELECT count(*)::integer, max(occurred_at) FROM settled
$$;

-- How many records one transaction completes: it holds the account's lock meanwhile.
CREATE OR REPLACE FUNCTION usage_part() RETURNS integer LANGUAGE sql IMMUTABLE AS 'SELECT 5000';

-- The uses of one meter in one cycle that a usage line covers are settled. One record more, the
-- `true_up`, carries what the line differs from them, so that records and lines agree to the cent.
-- Of uses in time only a part is completed here; where there are more, the account's matter goes on.
-- They are known: what comes after this is late. The account's lock is held.
CREATE OR REPLACE FUNCTION usage_close(
    p_account_id uuid, p_meter text, p_start timestamptz, p_end timestamptz, p_zone text,
    p_currency text, p_true_up numeric, p_invoice text, p_at timestamptz)
RETURNS void
LANGUAGE plpgsql
SET enable_seqscan = off
AS $$
DECLARE
    part record;
BEGIN
    PERFORM usage_complete(
        p_account_id, p_meter, p_start, p_start, p_end, p_currency, true, NULL, p_invoice, p_at);
    part := usage_complete(
        p_account_id, p_meter, p_start, p_start, p_end, p_currency, false, usage_part(),
        p_invoice, p_at);

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

    IF part.completed = usage_part() THEN
        INSERT INTO usage_settlements (
            account_id, start_at, meter, end_at, currency, invoice, began_at, done_to)
        VALUES (p_account_id, p_start, p_meter, p_end, p_currency, p_invoice, p_at, part.done_to)
        ON CONFLICT DO NOTHING;
        PERFORM account_watch(p_account_id, p_at, p_at);
    END IF;
END;
$$;

-- The next part of an account's uses that an invoice bills; answers how many. Takes the account's
-- lock.
CREATE OR REPLACE FUNCTION usage_complete_part(p_account_id uuid, p_at timestamptz)
RETURNS integer
LANGUAGE plpgsql
SET enable_seqscan = off
AS $$
DECLARE
    todo usage_settlements;
    part record;
BEGIN
    PERFORM 1 FROM credit_balances WHERE account_id = p_account_id FOR NO KEY UPDATE;
    SELECT * INTO todo FROM usage_settlements
    WHERE account_id = p_account_id ORDER BY began_at, start_at, meter LIMIT 1;
    IF NOT FOUND THEN
        RETURN 0;
    END IF;
    part := usage_complete(
        p_account_id, todo.meter, todo.start_at, todo.done_to, todo.end_at, todo.currency, false,
        usage_part(), todo.invoice, p_at);
    IF part.completed < usage_part() THEN
        DELETE FROM usage_settlements
        WHERE account_id = p_account_id AND start_at = todo.start_at AND meter = todo.meter;
    ELSE
        UPDATE usage_settlements SET parts = parts + 1, done_to = part.done_to
        WHERE account_id = p_account_id AND start_at = todo.start_at AND meter = todo.meter;
    END IF;
    RETURN part.completed;
END;
$$;
