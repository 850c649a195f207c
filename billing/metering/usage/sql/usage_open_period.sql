-- Let the period that holds `p_at` be the account's open one: the subscription's allowance cycle,
-- else the calendar month in the account's zone; the one before it ends where this one starts.
-- Takes the account's lock; expects its rows to be shown.
CREATE OR REPLACE FUNCTION usage_open_period(p_account_id uuid, p_at timestamptz) RETURNS void
LANGUAGE plpgsql
SET enable_seqscan = off
AS $$
DECLARE
    known record;
    wanted record;
    opened uuid;
BEGIN
    PERFORM 1 FROM credit_balances WHERE account_id = p_account_id FOR NO KEY UPDATE;
    SELECT p.id, p.start_at, p.end_at, p.subscription_id, p.limits INTO known
    FROM credit_balances AS b JOIN usage_periods AS p ON p.id = b.period_id
    WHERE b.account_id = p_account_id;
    wanted := usage_subscribed_period(p_account_id, p_at);
    IF wanted.subscription_id IS NULL THEN
        SELECT m.start_at, m.end_at, a.zone, '{}'::jsonb AS limits,
            NULL::uuid AS subscription_id, NULL::text AS currency
        INTO wanted
        FROM accounts AS a CROSS JOIN LATERAL usage_month(a.zone, p_at) AS m
        WHERE a.id = p_account_id;
        IF known.subscription_id IS NOT NULL AND known.end_at > p_at THEN
            -- What ends keeps its row, even at the instant it began.
            wanted.start_at := greatest(p_at, known.start_at + interval '1 microsecond');
        ELSIF known.end_at > p_at THEN
            RETURN;
        ELSE
            wanted.start_at := greatest(wanted.start_at, known.end_at);
        END IF;
    END IF;

    INSERT INTO usage_periods AS p (
        id, account_id, start_at, end_at, zone, subscription_id, currency, limits)
    VALUES (uuidv7(), p_account_id, wanted.start_at, wanted.end_at, wanted.zone,
        wanted.subscription_id, wanted.currency, wanted.limits)
    ON CONFLICT (account_id, start_at) DO UPDATE
    SET end_at = excluded.end_at, zone = excluded.zone, closed_at = NULL,
        subscription_id = excluded.subscription_id, currency = excluded.currency,
        limits = excluded.limits
    RETURNING p.id INTO opened;
    UPDATE usage_periods SET end_at = least(end_at, wanted.start_at), closed_at = p_at
    WHERE id = known.id AND known.id <> opened AND start_at < wanted.start_at;
    UPDATE credit_balances SET period_id = opened
    WHERE account_id = p_account_id AND period_id IS DISTINCT FROM opened;
    IF (known.id, known.end_at, known.limits) IS DISTINCT FROM
        (opened, wanted.end_at, wanted.limits)
    THEN
        -- What the plan says is another thing now.
        UPDATE billing_quotas SET plain_until = NULL
        WHERE account_id = p_account_id AND plain_until IS NOT NULL;
    END IF;
END;
$$;
