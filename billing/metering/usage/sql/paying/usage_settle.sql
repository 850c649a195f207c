-- Pay an account's unpaid uses with credits, the oldest first; skip uses that the remaining credits
-- do not cover, and uses that a card is being charged for. A use that a card failed to pay may use
-- any credits, at its price in credits (usage_due_in_credits). At most `p_most` are paid, and
-- `p_looked_at` looked at; the rest follows later. Returns the paid ones. Expects the account's
-- lock.
CREATE OR REPLACE FUNCTION usage_settle(
    p_account_id uuid, p_at timestamptz, p_most integer, p_looked_at integer)
RETURNS TABLE (record_id uuid, method text)
LANGUAGE plpgsql
SET enable_seqscan = off
AS $$
DECLARE
    began record;
    due record;
    debit record;
    looked_at integer := 0;
    paid integer := 0;
    kind text;
    -- What is there for uses of a meter and method, since the last debit.
    free jsonb := '{}';
BEGIN
    DELETE FROM unpaid_retries AS w WHERE w.account_id = p_account_id
    RETURNING w.from_at, w.from_id INTO began;
    FOR due IN
        SELECT u.used_at, u.id, u.currency, u.meter, u.name, u.method, u.unit_price, u.total
        FROM usage_next_unpaid(p_account_id, coalesce(began.from_at, '-infinity'),
            coalesce(began.from_id, p_account_id), p_looked_at + 1) AS u
    LOOP
        EXIT WHEN free = '{}' AND NOT EXISTS (SELECT FROM credit_burn_order(p_account_id));
        looked_at := looked_at + 1;
        kind := due.meter || '/' || due.method;
        IF NOT free ? kind THEN
            free := free || jsonb_build_object(kind, (
                SELECT coalesce(sum(l.free), 0) FROM credit_burn_order(p_account_id) AS l
                WHERE credit_may_burn(
                    l.scope, l.is_paid, due.meter, due.method = 'wallet_deduction')));
        END IF;
        CONTINUE WHEN looked_at <= p_looked_at
            AND (due.total <= (free ->> kind)::numeric) IS NOT TRUE;
        IF paid = p_most OR looked_at > p_looked_at THEN
            PERFORM usage_settle_soon(p_account_id, p_at);
            UPDATE unpaid_retries AS w SET from_at = due.used_at, from_id = due.id
            WHERE w.account_id = p_account_id;
            EXIT;
        END IF;
        record_id := due.id;
        method := due.method;
        SELECT d.verdict, d.transaction_id INTO debit
        FROM credit_debit_many(ARRAY[usage_owed_debit(
            p_account_id, due.id, due.total, due.meter, due.name, method)], p_at) AS d;
        free := '{}'; -- It ended lots whose time is over, too.
        CONTINUE WHEN debit.verdict <> 'ok';
        IF due.currency <> 'CREDIT' THEN
            PERFORM usage_price_in_credits(p_account_id, due.id, due.unit_price, due.total);
        END IF;
        PERFORM usage_set_status(
            p_account_id, due.id, method, 'completed', debit.transaction_id,
            jsonb_build_object('method', method), p_at);
        paid := paid + 1;
        RETURN NEXT;
    END LOOP;
END;
$$;
