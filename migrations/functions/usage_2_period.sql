-- Allowance cycles as usage sees them. Each expects the account's rows to be shown.

-- What limits, a plan's or agreed ones, give of each meter under a subscription's status, keyed by
-- meter.
CREATE OR REPLACE FUNCTION usage_limits_of(
    p_limits jsonb, p_status text, p_past_due_access text, p_currency text)
RETURNS jsonb
LANGUAGE sql IMMUTABLE AS $$
    SELECT coalesce(jsonb_object_agg(one ->> 'meter', jsonb_build_object(
        'included', one ->> 'included',
        'then', CASE
            WHEN one ->> 'then' <> 'overage' THEN one ->> 'then'
            WHEN p_status = 'past_due' AND p_past_due_access <> 'full' THEN 'block'
            WHEN one -> 'prices' -> p_currency IS NULL THEN 'block'
            ELSE 'overage' END,
        'price', coalesce(one -> 'prices' ->> p_currency, '0'))), '{}')
    FROM jsonb_array_elements(p_limits) AS limits(one)
    WHERE p_status IN ('trialing', 'active')
        OR (p_status = 'past_due' AND p_past_due_access <> 'none')
$$;

-- The first boundary after `p_at` of periods that are counted from an anchor on the wall of its zone:
-- the 31st is the 31st again after February, and of a time that repeats the first counts. The same
-- rule as billing/core/periods.py, which is the truth; a test holds this one to it.
CREATE OR REPLACE FUNCTION usage_boundary(
    p_anchor timestamp, p_zone text, p_unit text, p_count integer, p_at timestamptz)
RETURNS timestamptz
LANGUAGE sql STABLE AS $$
    SELECT min(b.at)
    FROM (
        SELECT
            CASE WHEN p_unit IN ('month', 'year') THEN 'month' ELSE 'day' END AS unit,
            p_count * CASE p_unit WHEN 'year' THEN 12 WHEN 'week' THEN 7 ELSE 1 END AS units,
            p_at AT TIME ZONE p_zone AS wall) AS s
    CROSS JOIN LATERAL (
        SELECT div(CASE s.unit
            WHEN 'month' THEN 12 * (extract(year FROM s.wall) - extract(year FROM p_anchor))
                + extract(month FROM s.wall) - extract(month FROM p_anchor)
            ELSE s.wall::date - p_anchor::date END, s.units)::integer AS number) AS near
    CROSS JOIN LATERAL (
        SELECT p_anchor + CASE s.unit WHEN 'month' THEN make_interval(months => n * s.units)
            ELSE make_interval(days => n * s.units) END AS wall
        FROM generate_series(greatest(1, near.number - 1), greatest(1, near.number + 2)) AS n
    ) AS w
    CROSS JOIN LATERAL (
        SELECT w.wall AT TIME ZONE p_zone AS at,
            (w.wall AT TIME ZONE p_zone - interval '3 hours') AS before) AS t
    CROSS JOIN LATERAL (
        -- By the offset that held before, if that shows this time at all.
        SELECT t.before + (w.wall - t.before AT TIME ZONE p_zone) AS at) AS early
    CROSS JOIN LATERAL (
        SELECT CASE WHEN early.at AT TIME ZONE p_zone = w.wall THEN early.at ELSE t.at END AS at
    ) AS b
    WHERE b.at > p_at
$$;

-- Let the period that holds `p_at` be the account's open one: the subscription's allowance cycle,
-- else the calendar month in the account's zone; the one before it ends where this one starts.
-- Takes the account's lock. A cycle that the subscription's own step has not begun yet is begun
-- here, so that no use falls between periods or into a past one.
CREATE OR REPLACE FUNCTION usage_turn(p_account_id uuid, p_at timestamptz) RETURNS void
LANGUAGE plpgsql
SET enable_seqscan = off
AS $$
DECLARE
    known usage_periods;
    wanted usage_periods;
    sub record;
BEGIN
    PERFORM 1 FROM credit_balances WHERE account_id = p_account_id FOR NO KEY UPDATE;
    SELECT p.* INTO known FROM credit_balances AS b JOIN usage_periods AS p ON p.id = b.period_id
    WHERE b.account_id = p_account_id;
    SELECT s.id, s.cycle_start, s.cycle_end, s.current_period_end, s.zone, s.currency,
        s.anchor_wall, s.interval_unit, s.interval_count, p.allowance_unit, p.allowance_count,
        usage_limits_of(
            usage_agreed_limits(s.account_id, p.limits, p_at), s.status, p.past_due_access,
            s.currency) AS limits
    INTO sub
    FROM subscriptions AS s JOIN plans AS p ON p.id = s.plan_id
    WHERE s.account_id = p_account_id
        AND s.status IN ('trialing', 'active', 'past_due', 'unpaid', 'paused');

    IF FOUND THEN
        wanted.start_at := sub.cycle_start;
        wanted.end_at := sub.cycle_end;
        wanted.zone := sub.zone;
        WHILE wanted.end_at <= p_at LOOP
            wanted.start_at := wanted.end_at;
            wanted.end_at := least(
                usage_boundary(sub.anchor_wall, sub.zone, sub.allowance_unit,
                    sub.allowance_count, wanted.start_at),
                usage_boundary(sub.anchor_wall, sub.zone, sub.interval_unit,
                    sub.interval_count, wanted.start_at));
        END LOOP;
        wanted.subscription_id := sub.id;
        wanted.currency := sub.currency;
        wanted.limits := usage_with_add_ons(
            sub.id, sub.current_period_end, sub.limits, wanted.start_at);
    ELSE
        wanted.zone := (SELECT zone FROM accounts WHERE id = p_account_id);
        wanted.start_at := date_trunc('month', p_at AT TIME ZONE wanted.zone)
            AT TIME ZONE wanted.zone;
        wanted.end_at := (date_trunc('month', p_at AT TIME ZONE wanted.zone) + interval '1 month')
            AT TIME ZONE wanted.zone;
        wanted.limits := '{}';
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
    RETURNING p.id INTO wanted.id;
    UPDATE usage_periods SET end_at = least(end_at, wanted.start_at), closed_at = p_at
    WHERE id = known.id AND known.id <> wanted.id AND start_at < wanted.start_at;
    UPDATE credit_balances SET period_id = wanted.id
    WHERE account_id = p_account_id AND period_id IS DISTINCT FROM wanted.id;
    IF (known.id, known.end_at, known.limits) IS DISTINCT FROM
        (wanted.id, wanted.end_at, wanted.limits)
    THEN
        -- What the plan says is another thing now.
        UPDATE billing_quotas SET plain_until = NULL
        WHERE account_id = p_account_id AND plain_until IS NOT NULL;
    END IF;
END;
$$;

-- See that a period is there for a time before the open one: what comes for it is late.
CREATE OR REPLACE FUNCTION usage_recall(p_account_id uuid, p_at timestamptz) RETURNS void
LANGUAGE sql AS $$
    INSERT INTO usage_periods (id, account_id, start_at, end_at, zone, limits, closed_at)
    SELECT uuidv7(), p_account_id, m.start_at AT TIME ZONE a.zone,
        least((m.start_at + interval '1 month') AT TIME ZONE a.zone,
            (SELECT min(start_at) FROM usage_periods WHERE account_id = p_account_id)),
        a.zone, '{}', p_at
    FROM accounts AS a, LATERAL (SELECT date_trunc('month', p_at AT TIME ZONE a.zone)) AS m(start_at)
    WHERE a.id = p_account_id AND NOT EXISTS (
        SELECT 1 FROM usage_periods WHERE account_id = p_account_id AND start_at <= p_at)
    ON CONFLICT DO NOTHING
$$;

-- Plan limits follow the subscription in its own transaction: subscribe, change, renew, end.
CREATE OR REPLACE FUNCTION usage_follow_subscription() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.status <> 'incomplete' THEN
        PERFORM usage_turn(NEW.account_id, greatest(NEW.updated_at, NEW.cycle_start));
    END IF;
    RETURN NULL;
END;
$$;
CREATE OR REPLACE TRIGGER usage_follows
    AFTER INSERT OR UPDATE OF status, plan_id, cycle_start, cycle_end ON subscriptions
    FOR EACH ROW EXECUTE FUNCTION usage_follow_subscription();
