-- What an account has used and not paid, as a use of `p_at` meets it: uses put off, uses that a
-- card is being charged for or did not pay and, where the subscription of that time owes (`owes`),
-- use beyond the plan that is on no invoice or on an unpaid one. And the most that its plan lets it
-- come to, in whole units of the currency; a credit counts as one of them. A subscription owes in
-- its trial, while it is past due or unpaid, as long as no money ever came for it
-- (usage_is_paid_for), when it ended or paused with an unpaid invoice, and while an invoice of the
-- account is overdue or was given up. Of one that is paid for only what came after that invoice
-- counts, beside all that is unpaid of subscriptions that ended. What banks took back for use
-- (usage_lost_to_banks) is unpaid, too, and who has taken it owes; but not for a use that a card
-- pays at once (`p_is_paid_at_once`), which is no credit.
CREATE OR REPLACE FUNCTION usage_unpaid(
    p_account_id uuid, p_at timestamptz, p_is_paid_at_once boolean,
    OUT unpaid numeric, OUT unpaid_limit numeric, OUT currency text, OUT owes boolean)
LANGUAGE plpgsql STABLE
SET enable_seqscan = off
SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
    sub record;
    since timestamptz := '-infinity';
    overdue_since timestamptz;
    is_paid_for boolean;
    taken numeric := CASE WHEN p_is_paid_at_once THEN 0 ELSE usage_lost_to_banks(p_account_id) END;
    unit numeric;
    limits jsonb;
BEGIN
    SELECT s.id, s.plan_id, s.currency, s.status, s.cycle_start INTO sub
    FROM (SELECT subscription_id FROM usage_periods
        WHERE account_id = p_account_id AND start_at <= p_at
        ORDER BY start_at DESC LIMIT 1) AS p
    JOIN subscriptions AS s ON s.id = p.subscription_id;
    currency := coalesce(sub.currency, (SELECT b.currency FROM credit_balances AS b
        WHERE b.account_id = p_account_id), currency_by_default());
    unit := power(10::numeric, money_exponent(currency));
    SELECT p.unpaid_limit INTO limits FROM plans AS p
    WHERE p.id = coalesce(sub.plan_id, plan_by_default());
    unpaid_limit := coalesce((limits ->> currency)::numeric / unit, 100);
    SELECT o.since INTO overdue_since FROM usage_overdue(ARRAY[p_account_id]) AS o;
    is_paid_for := sub.status <> 'trialing' AND usage_is_paid_for(sub.id);
    owes := sub.status IN ('trialing', 'past_due', 'unpaid')
        OR sub.status IN ('active', 'paused', 'canceled') AND NOT is_paid_for
        OR sub.status = 'active' AND overdue_since IS NOT NULL
        OR sub.status IN ('paused', 'canceled') AND EXISTS (
            SELECT FROM invoices
            WHERE subscription_id = sub.id AND status IN ('open', 'uncollectible'));
    owes := coalesce(owes, false) OR taken > 0;
    IF sub.status = 'past_due' THEN
        since := coalesce(overdue_since, sub.cycle_start);
    ELSIF sub.status = 'active' AND is_paid_for THEN
        since := coalesce(overdue_since, since);
    END IF;
    SELECT coalesce(sum(c.credits + c.overage_total) FILTER (
                WHERE usage_is_owed(f.status, f.currency, f.method)
                OR usage_is_charging(f.status, f.method)), 0)
            + coalesce(sum(c.overage_total) FILTER (WHERE owes AND f.status = 'pending'
                AND f.method = 'subscription_included'
                AND c.bucket > since - interval '1 day'), 0)
        + taken / unit
    INTO unpaid
    FROM usage_counters AS c CROSS JOIN LATERAL (SELECT
        split_part(c.facet, '|', 2) AS method, split_part(c.facet, '|', 3) AS status,
        split_part(c.facet, '|', 4) AS currency) AS f
    WHERE c.account_id = p_account_id AND c.owner = '' AND c.grain = 'day'
        -- Nothing is unpaid of the days before the first such use, whatever the zone of its day.
        AND c.bucket > (
            SELECT min(r.occurred_at) - interval '2 days' FROM billing_records AS r
            WHERE r.account_id = p_account_id AND r.billing_status <> 'completed'
                AND r.billing_status <> 'refunded');
    IF owes THEN
        unpaid := unpaid + usage_on_unpaid_invoices(p_account_id, since) / unit;
    END IF;
END;
$$;
