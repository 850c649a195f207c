-- Until when an account's terms are known: to the end of a trial that goes on only if there is a
-- card by then (transitions.py end_trial). Null: for good. The next period needs one if
-- something is charged for it and no contract has it sent (agreements.py needs_card); its plan
-- says what happens without one. Prices that a contract agrees count as charged. A barred card
-- is none, nor is one that nobody chose (card_choice.py), nor a bank account: it may be of
-- another currency. Whether a card rests at that time, nobody knows yet.
CREATE OR REPLACE FUNCTION usage_terms_known_until(p_account_id uuid) RETURNS timestamptz
LANGUAGE sql STABLE
SET enable_seqscan = off
AS $$
    SELECT s.current_period_end FROM subscriptions AS s
    LEFT JOIN contracts AS k ON k.account_id = s.account_id AND k.id IS DISTINCT FROM s.contract_id
        AND k.effective_from <= s.current_period_end
        AND s.current_period_end < coalesce(k.effective_to, 'infinity')
    LEFT JOIN subscription_changes AS plan
        ON plan.subscription_id = s.id AND plan.kind = 'plan' AND plan.status = 'scheduled'
    LEFT JOIN plans AS p ON p.id = (plan.terms ->> 'plan_id')::uuid
    WHERE s.account_id = p_account_id AND s.status = 'trialing'
        AND coalesce(p.trial_end_behavior, s.trial_end_behavior) <> 'invoice'
        AND NOT s.cancel_at_period_end
        AND coalesce(s.cancel_at, 'infinity') > s.current_period_end
        AND coalesce(k.terms ->> 'collection', s.collection) = 'charge'
        AND (coalesce((plan.terms ->> 'unit_minor')::bigint, s.amount_minor) > 0
            OR s.minimum_minor IS NOT NULL OR plan.terms ->> 'minimum_minor' IS NOT NULL
            OR k.terms -> 'prices' <> '[]'
            OR EXISTS (
                SELECT FROM subscription_items AS i
                WHERE i.subscription_id = s.id AND i.kind = 'add_on' AND i.amount_minor > 0
                    AND coalesce(i.next_quantity, i.quantity) > 0))
        AND NOT EXISTS (
            SELECT FROM payment_methods AS m
            WHERE m.account_id = s.account_id AND m.status = 'active' AND m.barred_at IS NULL
                AND m.provider_kind = 'card'
                AND (m.is_default OR m.is_backup OR m.id = s.payment_method_id))
$$;
