-- What the release before wrote otherwise. For once their owner looks at the rows of all accounts.

-- It paused for one reason only, and did not say so.
ALTER TABLE subscriptions NO FORCE ROW LEVEL SECURITY;
UPDATE subscriptions SET pause_reason = 'trial_ended' WHERE status = 'paused';
ALTER TABLE subscriptions FORCE ROW LEVEL SECURITY;
