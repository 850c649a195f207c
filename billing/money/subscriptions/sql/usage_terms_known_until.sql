-- Until when an account's terms are known. Null: for good. While an invoice is overdue, to the day
-- on which its recovery may be given up at the earliest (dunning/rules.py final_due, collecting's
-- _lock_out; tests hold them together): that takes the access away, and a payment gives all of it
-- back. In a trial that goes on only if there is a card by then (transitions.py end_trial), to its
-- end: the next period needs one if something is charged for it and no contract has it sent
-- (agreements.py needs_card); its plan says what happens without one. Prices that a contract agrees
-- count as charged, and add-ons that another plan or choice ends. A barred card is none, nor is one
-- that nobody chose (card_choice.py), nor a bank account: it may be of another currency. Whether a
-- card rests at that time, nobody knows yet.
CREATE OR REPLACE FUNCTION usage_terms_known_until(p_account_id uuid) RETURNS timestamptz
LANGUAGE sql STABLE
SET enable_seqscan = off
AS $$
    SELECT min(greatest(c.postponed_until, d.planned_at)) FROM subscriptions AS s
    JOIN dunning_cases AS c ON c.subscription_id = s.id AND c.status IN ('open', 'paused')
    CROSS JOIN LATERAL (
        -- The last slot's day, from before its midnight: where that comes twice, the first counts.
        -- Grace days have 24 hours; no bank that decides delays the end beyond a fortnight.
        SELECT (date_trunc('day', c.day_zero_at AT TIME ZONE c.zone) + make_interval(
            days => c.extended_days + (c.policy -> 'days' ->> -1)::int, hours => -1)
            ) AT TIME ZONE c.zone
            + make_interval(hours => 24 * least(14, (c.policy ->> 'grace_days')::int))
            AS planned_at) AS d
    WHERE s.account_id = p_account_id AND s.status = 'past_due'
    HAVING count(*) > 0
    UNION ALL
    SELECT s.current_period_end FROM subscriptions AS s
    LEFT JOIN contracts AS k ON k.account_id = s.account_id AND k.id IS DISTINCT FROM s.contract_id
        AND k.effective_from <= s.current_period_end
        AND s.current_period_end < coalesce(k.effective_to, 'infinity')
    LEFT JOIN LATERAL (
        -- A plan at another price ends what was to change the price.
        SELECT c.terms FROM subscription_changes AS c
        WHERE c.subscription_id = s.id AND c.status = 'scheduled' AND c.kind IN ('plan', 'price')
        ORDER BY (c.terms ->> 'price_id')::uuid = s.price_id, c.kind LIMIT 1) AS n ON true
    LEFT JOIN plans AS p ON p.id = (n.terms ->> 'plan_id')::uuid
    WHERE s.account_id = p_account_id AND s.status = 'trialing'
        AND coalesce(p.trial_end_behavior, s.trial_end_behavior) <> 'invoice'
        AND NOT s.cancel_at_period_end
        AND coalesce(s.cancel_at, 'infinity') > s.current_period_end
        AND coalesce(k.terms ->> 'collection', s.collection) = 'charge'
        AND (coalesce((n.terms ->> 'unit_minor')::bigint, s.amount_minor) > 0
            OR n.terms ->> 'minimum_minor' IS NOT NULL
            OR n.terms IS NULL AND s.minimum_minor IS NOT NULL
            OR k.terms -> 'prices' <> '[]'
            OR EXISTS (
                SELECT FROM subscription_items AS i
                WHERE i.subscription_id = s.id AND i.kind = 'add_on' AND i.amount_minor > 0
                    AND coalesce(i.next_quantity, i.quantity) > 0)
            OR EXISTS (
                SELECT FROM subscription_changes AS c
                CROSS JOIN LATERAL jsonb_each_text(c.wanted) AS w(add_on, quantity)
                WHERE c.subscription_id = s.id AND c.status = 'scheduled' AND c.kind = 'add_ons'
                    AND w.quantity::int > 0))
        AND NOT EXISTS (
            SELECT FROM payment_methods AS m
            WHERE m.account_id = s.account_id AND m.status = 'active' AND m.barred_at IS NULL
                AND m.provider_kind = 'card'
                AND (m.is_default OR m.is_backup OR m.id = s.payment_method_id))
$$;
