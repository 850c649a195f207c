-- Holds of a batch in a few statements for all: the same as credit_hold_one_v2 for each, at a third
-- of the cost; a property test holds both together.
-- PRECONDITION: the caller holds the accounts' locks. Checked here, else nothing is done and no row
-- answered: each account has one item with a new key; its first lot in burn order covers it;
-- nothing of the account is due to expire, nor does it want credits bought.
CREATE OR REPLACE FUNCTION credit_hold_fast_v2(
    p_items credit_hold_item_v2[], p_accounts uuid[], p_at timestamptz)
RETURNS SETOF credit_hold_answer
LANGUAGE plpgsql
SET enable_seqscan = off
SET enable_hashjoin = on
SET enable_mergejoin = off
SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
    shown text := coalesce(current_setting('app.accounts', true), '');
    fit record;
BEGIN
    IF cardinality(p_accounts) > (SELECT count(DISTINCT u) FROM unnest(p_accounts) AS u) THEN
        RETURN;
    END IF;
    PERFORM set_config('app.accounts', array_to_string(p_accounts, ','), true);
    fit := credit_hold_fit_v2(p_items, p_at, clock_timestamp());
    IF NOT fit.all_fit THEN
        PERFORM set_config('app.accounts', shown, true);
        RETURN;
    END IF;
    RETURN QUERY
    WITH items AS MATERIALIZED (
        SELECT
            i.account_id, i.amount, i.key, i.hash, i.reason, i.scope, i.paid_only, i.subject,
            i.made_by, i.id, i.lot_id, i.as_of, i.ends, i.place
        FROM ROWS FROM (
            unnest(p_items), unnest(fit.ids), unnest(fit.lots), unnest(fit.as_of), unnest(fit.ends)
        ) WITH ORDINALITY AS i(
            account_id, amount, key, hash, reason, expires_at, lifetime, scope, paid_only, subject,
            made_by, id, lot_id, as_of, ends, place)
    ), held AS (
        INSERT INTO credit_holds (
            id, account_id, status, amount, key, request_hash, scope, paid_only, reason,
            subject, created_at, expires_at, made_by)
        SELECT id, account_id, 'open', amount, key, hash, scope, paid_only, reason, subject,
            as_of, ends, made_by
        FROM items
    ), split AS (
        INSERT INTO credit_hold_lots (hold_id, position, lot_id, account_id, amount)
        SELECT id, 1, lot_id, account_id, amount FROM items
    ), lots AS (
        UPDATE credit_lots AS l SET held = l.held + i.amount
        FROM items AS i WHERE l.id = i.lot_id
    ), moved AS (
        UPDATE credit_balances AS b
        SET held = b.held + i.amount, next_expiry = least(b.next_expiry, i.ends)
        FROM items AS i WHERE b.account_id = i.account_id
    )
    SELECT place::integer, 'ok', id, amount, ends, NULL::numeric, 'open', 0::numeric, as_of,
        NULL::timestamptz, false
    FROM items;
    -- Whatever ends later is seen to when the matter looks at what ends first.
    PERFORM account_watch(u.account_id, u.ends, u.as_of)
    FROM (
        SELECT i.account_id, i.ends, i.as_of
        FROM unnest(p_accounts, fit.ends, fit.as_of, fit.before)
            AS i(account_id, ends, as_of, before)
        WHERE coalesce(i.before > i.ends, true)
        ORDER BY i.account_id) AS u;
    PERFORM set_config('app.accounts', shown, true);
END;
$$;
