-- The lots of an account that have something left to spend, in the order in which they burn: those
-- for one purpose first, then by priority, earliest expiry, free before paid, oldest. The one place
-- that says so in SQL; billing.insight.explanations gives the reasons, held to it by a test.
-- Plain SQL without settings: the planner sees through it and reads ix_credit_lots_burn in order.
CREATE OR REPLACE FUNCTION credit_burn_order(p_account_id uuid)
RETURNS TABLE (place bigint, id uuid, free numeric, scope text, is_paid boolean)
LANGUAGE sql STABLE AS $$
    SELECT
        row_number() OVER (
            ORDER BY (l.scope IS NULL), l.priority, l.expires_at, l.is_paid, l.granted_seq),
        l.id, l.remaining - l.held, l.scope, l.is_paid
    FROM credit_lots AS l
    WHERE l.account_id = p_account_id AND l.is_open AND l.remaining > l.held
    ORDER BY (l.scope IS NULL), l.priority, l.expires_at, l.is_paid, l.granted_seq
$$;
