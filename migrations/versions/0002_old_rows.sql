-- What the release before wrote otherwise. For once their owner looks at the rows of all accounts.

-- A default that was removed at the provider left none: the newest other one is charged from now on,
-- of those that can pay if there is one.
ALTER TABLE payment_methods NO FORCE ROW LEVEL SECURITY;
UPDATE payment_methods SET is_default = true WHERE id IN (
    SELECT DISTINCT ON (account_id) id FROM payment_methods AS m
    WHERE status = 'active' AND NOT EXISTS (
        SELECT FROM payment_methods AS d WHERE d.account_id = m.account_id AND d.is_default)
    ORDER BY account_id, barred_at IS NOT NULL, created_at DESC, id DESC);
ALTER TABLE payment_methods FORCE ROW LEVEL SECURITY;

-- It paused for one reason only, and did not say so.
ALTER TABLE subscriptions NO FORCE ROW LEVEL SECURITY;
UPDATE subscriptions SET pause_reason = 'trial_ended' WHERE status = 'paused';
ALTER TABLE subscriptions FORCE ROW LEVEL SECURITY;

-- Any two letters were a country. These name two whose codes are others.
ALTER TABLE accounts NO FORCE ROW LEVEL SECURITY;
UPDATE accounts SET country = CASE country WHEN 'UK' THEN 'GB' ELSE 'GR' END
WHERE country IN ('UK', 'EL');
ALTER TABLE accounts FORCE ROW LEVEL SECURITY;
DROP INDEX countries_of_before;
