-- Until when an account's terms are known: to the end of a trial that goes on only if a card is
-- saved by then (transitions.py end_trial). Null: for good.
CREATE OR REPLACE FUNCTION usage_terms_known_until(p_account_id uuid) RETURNS timestamptz
LANGUAGE sql STABLE
SET enable_seqscan = off
AS $$
    SELECT s.current_period_end FROM subscriptions AS s
    WHERE s.account_id = p_account_id AND s.status = 'trialing' AND s.collection = 'charge'
        AND s.amount_minor > 0 AND s.trial_end_behavior <> 'invoice'
        AND NOT s.cancel_at_period_end
        AND coalesce(s.cancel_at, 'infinity') > s.current_period_end
        AND NOT EXISTS (
            SELECT FROM payment_methods WHERE account_id = p_account_id AND status = 'active')
$$;
