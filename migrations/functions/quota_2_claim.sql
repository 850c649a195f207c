-- A new or changed quota of one owner, meter and kind of window; it starts with what was counted
-- in its window already, recorded or claimed. Takes the account's lock.
CREATE OR REPLACE FUNCTION quota_put(
    p_account_id uuid, p_owner text, p_meter text, p_window text, p_span integer,
    p_limit numeric, p_hard boolean, p_percents integer[], p_at timestamptz)
RETURNS SETOF billing_quotas
LANGUAGE plpgsql
SET enable_seqscan = off
AS $$
DECLARE
    period usage_periods;
    begins timestamptz;
    counted numeric := 0;
    claimed record;
BEGIN
    IF p_limit < 0 OR p_window NOT IN ('day', 'month', 'cycle', 'rolling') OR p_span <= 0
        OR (p_window = 'rolling') <> (p_span IS NOT NULL)
    THEN
        RAISE EXCEPTION USING ERRCODE = 'check_violation', MESSAGE = 'there is no such quota';
    END IF;
    PERFORM usage_turn(p_account_id, p_at);
    SELECT p.* INTO period FROM credit_balances AS b JOIN usage_periods AS p ON p.id = b.period_id
    WHERE b.account_id = p_account_id;
    PERFORM quota_settle(p_account_id, period.zone, period.start_at, p_at);
    begins := quota_window(p_window, p_span, period.zone, period.start_at, p_at);
    IF p_window <> 'rolling' THEN
        counted := (
            SELECT coalesce(sum(quantity), 0) FROM usage_counters
            WHERE account_id = p_account_id AND owner = p_owner AND meter = p_meter
                AND grain = 'day'
                AND period_start >= CASE p_window WHEN 'cycle' THEN begins ELSE '-infinity' END
                AND bucket >= CASE p_window WHEN 'cycle' THEN '-infinity' ELSE begins END);
    END IF;
    -- Without a quota nobody had to settle them.
    UPDATE quota_claims AS c SET status = 'settled'
    WHERE account_id = p_account_id AND status = 'open'
        AND EXISTS (SELECT 1 FROM billing_records WHERE id = c.id);
    SELECT coalesce(sum(amount) FILTER (WHERE claimed_at >= begins), 0) AS now,
        coalesce(sum(amount) FILTER (WHERE claimed_at < begins), 0) AS before
    INTO claimed
    FROM quota_claims
    WHERE account_id = p_account_id AND status = 'open' AND meter = p_meter
        AND p_owner IN ('', 'u:' || user_id, 'o:' || organization_id)
        AND claimed_at >= begins - make_interval(secs => coalesce(p_span, 0));
    UPDATE billing_quotas SET plain_until = NULL
    WHERE account_id = p_account_id AND meter = p_meter AND plain_until IS NOT NULL;
    RETURN QUERY
    INSERT INTO billing_quotas AS q (
        id, account_id, owner, meter, window_kind, span_seconds, limit_amount, is_hard,
        alert_percents, window_start, used, used_before, created_at, updated_at)
    VALUES (uuidv7(), p_account_id, p_owner, p_meter, p_window, p_span, p_limit, p_hard,
        p_percents, begins, counted + claimed.now, claimed.before, p_at, p_at)
    ON CONFLICT (account_id, meter, owner, window_kind) DO UPDATE SET
        span_seconds = excluded.span_seconds, limit_amount = excluded.limit_amount,
        is_hard = excluded.is_hard, alert_percents = excluded.alert_percents,
        updated_at = excluded.updated_at, plain_until = NULL,
        -- Another span is another window.
        window_start = CASE WHEN q.span_seconds IS DISTINCT FROM excluded.span_seconds
            THEN excluded.window_start ELSE q.window_start END
    RETURNING q.*;
END;
$$;

-- Check and count a use of the caller's account where one quota alone has its word and nothing else
-- is to be looked at, which the quota knows until when and below what. Answers true if it was
-- counted. If not, quota_claim is asked in a transaction of its own: this one may hold the quota's
-- lock, which comes after the account's.
CREATE OR REPLACE FUNCTION quota_consume(
    p_account_id uuid, p_user text, p_organization text, p_meter text, p_amount numeric,
    p_real_at timestamptz)
RETURNS boolean
LANGUAGE sql AS $$
    UPDATE billing_quotas SET used = used + p_amount, updated_at = p_real_at
    WHERE account_id = p_account_id AND meter = p_meter
        AND owner IN ('', 'u:' || p_user, 'o:' || p_organization)
        AND plain_until > p_real_at AND window_start <= p_real_at AND used + p_amount < plain_below
    RETURNING true
$$;

-- Check every hard quota and the plan's blocking limit, and count the use at once if all allow it;
-- its record settles the claim without counting again, else it lapses: what has lapsed is given
-- back here, windows that are over begin anew, thresholds are told of. Takes the account's lock.
-- Answers whether it is allowed; a repeated claim is answered as the first.
CREATE OR REPLACE FUNCTION quota_claim(
    p_account_id uuid, p_id uuid, p_event text, p_user text, p_organization text, p_meter text,
    p_amount numeric, p_seconds integer, p_real_at timestamptz)
RETURNS boolean
LANGUAGE plpgsql
SET enable_seqscan = off
AS $$
DECLARE
    as_of timestamptz := coalesce(
        (SELECT clock_at FROM accounts WHERE id = p_account_id), p_real_at);
    period usage_periods;
    lim jsonb;
    allowed boolean;
BEGIN
    IF p_amount <= 0 THEN
        RAISE EXCEPTION USING ERRCODE = 'check_violation', MESSAGE = 'nothing is claimed';
    END IF;
    PERFORM usage_turn(p_account_id, as_of);
    SELECT p.* INTO period FROM credit_balances AS b JOIN usage_periods AS p ON p.id = b.period_id
    WHERE b.account_id = p_account_id;
    PERFORM quota_settle(p_account_id, period.zone, period.start_at, as_of);
    -- It is counted in the windows that are open, also where another clock began them.
    as_of := greatest(as_of, (
        SELECT max(window_start) FROM billing_quotas WHERE account_id = p_account_id));
    lim := period.limits -> p_meter;
    allowed := EXISTS (SELECT 1 FROM quota_claims WHERE id = p_id AND status <> 'lapsed')
        OR EXISTS (SELECT 1 FROM billing_records WHERE id = p_id);
    IF NOT allowed THEN
        allowed := NOT EXISTS (
            SELECT 1 FROM billing_quotas
            WHERE account_id = p_account_id AND meter = p_meter AND is_hard
                AND owner IN ('', 'u:' || p_user, 'o:' || p_organization)
                AND quota_used(used, used_before, span_seconds, window_start, as_of) + p_amount
                    > limit_amount)
            AND (lim IS NULL OR lim ->> 'then' <> 'block' OR p_amount <= (lim ->> 'included')::numeric
                - coalesce((
                    SELECT quantity FROM usage_cycles
                    WHERE account_id = p_account_id AND owner = ''
                        AND period_start = period.start_at AND meter = p_meter), 0)
                - coalesce((
                    SELECT sum(amount) FROM quota_claims
                    WHERE account_id = p_account_id AND status = 'open' AND meter = p_meter), 0));
        IF allowed THEN
            PERFORM quota_add(
                p_account_id, ARRAY[p_id], ARRAY[p_user], ARRAY[p_organization], ARRAY[p_meter],
                ARRAY[p_amount], as_of);
            INSERT INTO quota_claims (
                id, account_id, event_id, user_id, organization_id, meter, amount, claimed_at,
                expires_at, status)
            VALUES (p_id, p_account_id, p_event, p_user, p_organization, p_meter, p_amount, as_of,
                as_of + make_interval(secs => p_seconds), 'open')
            ON CONFLICT (id) DO UPDATE SET
                amount = excluded.amount, claimed_at = excluded.claimed_at, user_id = excluded.user_id,
                organization_id = excluded.organization_id, meter = excluded.meter,
                expires_at = excluded.expires_at, status = 'open';
        END IF;
    END IF;
    PERFORM quota_know(p_account_id, p_user, p_organization, p_meter, period.id, as_of);
    RETURN allowed;
END;
$$;

-- Note until when, and below what, a claim on these quotas needs no second look. Never where a
-- window rolls, the plan blocks, the account has a clock of its own, or some use falls under another
-- quota as well.
CREATE OR REPLACE FUNCTION quota_know(
    p_account_id uuid, p_user text, p_organization text, p_meter text, p_period_id uuid,
    p_at timestamptz)
RETURNS void
LANGUAGE sql
SET enable_seqscan = off
AS $$
    UPDATE billing_quotas AS q
    SET plain_until = known.until, plain_below = least(
        999999999999999, CASE WHEN q.is_hard THEN q.limit_amount END,
        (SELECT min(q.limit_amount * 0.01 * percent) FROM unnest(q.alert_percents) AS u(percent)
         WHERE q.used * 100 < q.limit_amount * percent))
    FROM billing_quotas AS mine CROSS JOIN LATERAL (
        SELECT CASE WHEN mine.span_seconds IS NULL AND NOT a.is_test
            AND p.limits -> p_meter ->> 'then' IS DISTINCT FROM 'block'
            AND NOT EXISTS (
                SELECT 1 FROM billing_quotas AS other
                WHERE other.account_id = p_account_id AND other.meter = p_meter
                    AND other.id <> mine.id AND (other.owner = mine.owner
                        OR left(other.owner, 1) <> left(mine.owner, 1)))
            THEN least(p.end_at, lapses.at, CASE mine.window_kind WHEN 'cycle' THEN p.end_at
                ELSE (mine.window_start AT TIME ZONE p.zone + ('1 ' || mine.window_kind)::interval)
                    AT TIME ZONE p.zone END) END
        FROM usage_periods AS p
        JOIN accounts AS a ON a.id = p.account_id
        CROSS JOIN (
            SELECT min(expires_at) FROM quota_claims
            WHERE account_id = p_account_id AND status = 'open') AS lapses(at)
        WHERE p.id = p_period_id) AS known(until)
    WHERE mine.account_id = p_account_id AND mine.meter = p_meter AND q.id = mine.id
        AND mine.owner IN ('', 'u:' || p_user, 'o:' || p_organization)
$$;
