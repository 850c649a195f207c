-- Places of the accounts whose uses go the long way (`unusual`), as far as that is told without
-- their credits: those with a use outside the open period or its terms, of a kind that is not
-- simple (usage_simple_kinds), of a time when it had another price, of an amount that does not fit
-- it, that their plan limits and may not include, or that a quota or a blocking budget may not
-- allow; all of them where each use is to be an event. And of those with uses that their plan
-- limits, which it includes if they are not unusual (`limited`).
CREATE OR REPLACE FUNCTION usage_unusual_accounts(
    p_accounts usage_account[], p_kinds usage_kind[], p_simple usage_fast_kind[],
    p_uses usage_input[], p_is_current boolean, p_traits usage_traits, OUT unusual integer[],
    OUT limited integer[])
LANGUAGE plpgsql AS $$
DECLARE
    plans record;
BEGIN
    limited := '{}';
    IF current_setting('app.publish_usage', true) = 'on' THEN
        unusual := ARRAY(SELECT a.place FROM unnest(p_accounts) AS a);
        RETURN;
    END IF;
    unusual := usage_misfits_fast(
        p_simple, p_uses, cardinality(p_simple) = cardinality(p_kinds))
        || usage_otherwise_priced_fast(p_accounts, p_simple, p_uses, p_traits.priced_at);
    IF p_traits.has_caps THEN
        unusual := unusual || usage_beyond_budgets_fast(p_accounts, p_simple, p_uses);
    END IF;
    IF p_traits.has_quotas THEN
        unusual := unusual || usage_beyond_quotas_fast(p_accounts, p_simple, p_uses);
    END IF;
    IF NOT p_is_current THEN
        unusual := unusual || ARRAY(
            SELECT a.place FROM unnest(p_accounts) AS a
            WHERE a.account_id IN (
                SELECT o.account_id FROM usage_outside_period(p_accounts, p_uses) AS o));
    END IF;
    IF EXISTS (
        SELECT FROM unnest(p_simple) AS s
        WHERE s.unit_price > 0 AND s.method = 'subscription_included')
        OR p_traits.has_limits AND EXISTS (
            SELECT FROM unnest(p_accounts) AS a
            WHERE a.limits ?| (ARRAY(
                SELECT k.meter FROM unnest(p_simple) AS k) || '*'::text))
    THEN
        plans := usage_limited_fast(p_accounts, p_kinds, p_simple, p_uses);
        limited := plans.limited;
        unusual := unusual || plans.unsure;
    END IF;
END;
$$;
