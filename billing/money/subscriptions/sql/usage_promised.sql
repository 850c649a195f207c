-- Uses that an open claim has allowed, and that are refused now because the plan that they were
-- claimed on has ended or pauses, dated to their claim: its end counted their units as used, so
-- they are paid for. A claim of the very instant in which the plan stops is dated just before it. A
-- plan whose money went back pays for nothing. Null: there are none. Of an account with several
-- uses here it is not known yet which are refused: it is one of `several`.
CREATE OR REPLACE FUNCTION usage_promised(
    p_accounts usage_account[], p_records usage_rated[], p_uses usage_input[],
    OUT dated usage_input[], OUT several integer[])
LANGUAGE plpgsql STABLE
SET enable_seqscan = off
SET enable_hashjoin = on
AS $$
DECLARE
    claimed record;
BEGIN
    several := '{}';
    FOR claimed IN
        SELECT u.ordinality AS place, o.at, f.account, f.uses
        FROM (
            SELECT (r.use).id, (r.use).account, (r.use).amount, (r.use).used_at, r.meter,
                r.failure, count(*) OVER (PARTITION BY (r.use).account) AS uses
            FROM unnest(p_records) AS r) AS f
        JOIN unnest(p_accounts) AS a ON a.place = f.account
        JOIN unnest(p_uses) WITH ORDINALITY AS u ON u.id = f.id
        JOIN LATERAL (
            SELECT k.claimed_at FROM quota_claims AS k
            WHERE k.id = f.id AND k.status = 'open' AND k.expires_at > a.as_of
                AND k.meter = f.meter AND k.amount >= f.amount) AS c ON true
        JOIN LATERAL (
            SELECT p.subscription_id,
                least(c.claimed_at, a.start_at - interval '1 microsecond') AS at
            FROM usage_periods AS p
            WHERE p.account_id = a.account_id AND p.start_at <= c.claimed_at
                AND p.start_at < a.start_at
            ORDER BY p.start_at DESC LIMIT 1) AS o ON c.claimed_at <= a.start_at
        JOIN LATERAL (
            SELECT p.subscription_id FROM usage_periods AS p
            WHERE p.account_id = a.account_id AND p.start_at = a.start_at) AS n ON true
        JOIN subscriptions AS s ON s.id = o.subscription_id
        WHERE f.failure IN ('QUOTA_EXCEEDED', 'NO_ENTITLEMENT') AND f.used_at IS NULL
            AND (s.status = 'paused' OR s.id IS DISTINCT FROM n.subscription_id)
            AND NOT s.money_went_back
            AND NOT EXISTS (
                SELECT FROM invoices AS i
                WHERE i.subscription_id = s.id AND i.period_start <= o.at
                    AND i.period_end > o.at AND i.amount_paid_minor > 0
                    AND i.amount_refunded_minor >= i.amount_paid_minor)
    LOOP
        IF claimed.uses > 1 THEN
            several := several || claimed.account;
        ELSE
            dated := coalesce(dated, p_uses);
            dated[claimed.place].used_at := claimed.at;
        END IF;
    END LOOP;
END;
$$;
