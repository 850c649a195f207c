-- Pay an account's unpaid uses with credits, the oldest first; skip uses that the remaining credits
-- do not cover, and uses that a card is being charged for. A use that a card failed to pay may use
-- any credits, at its price in credits (usage_due_in_credits). At most `p_most`; the rest follows
-- later. Returns the paid ones. Expects the account's lock.
CREATE OR REPLACE FUNCTION usage_settle(p_account_id uuid, p_at timestamptz, p_most integer)
RETURNS TABLE (record_id uuid, method text)
LANGUAGE plpgsql
SET enable_seqscan = off
AS $$
DECLARE
    due record;
    debit record;
    paid integer := 0;
    -- At least what is there for any one of them: scopes and kinds of credits may leave less.
    free numeric;
BEGIN
    DELETE FROM unpaid_retries AS w WHERE w.account_id = p_account_id;
    FOR due IN
        SELECT r.id, r.currency, r.meter, r.product_id, r.billing_method, c.unit_price, c.total
        FROM unpaid_uses AS u JOIN billing_records AS r ON r.id = u.record_id
        CROSS JOIN LATERAL usage_due_in_credits(r) AS c
        WHERE u.account_id = p_account_id
            AND usage_is_owed(r.billing_status, r.currency, r.billing_method)
        ORDER BY u.used_at, u.record_id
    LOOP
        free := coalesce(free, (
            SELECT coalesce(sum(l.remaining - l.held), 0) FROM credit_lots AS l
            WHERE l.account_id = p_account_id AND l.is_open));
        EXIT WHEN free = 0;
        CONTINUE WHEN due.total > free;
        IF paid = p_most THEN
            PERFORM usage_settle_soon(p_account_id, p_at);
            EXIT;
        END IF;
        record_id := due.id;
        method := CASE WHEN due.billing_method = 'payment_charge' THEN 'credit_consumption'
            ELSE due.billing_method END;
        SELECT d.verdict, d.transaction_id INTO debit
        FROM credit_debit_many(ARRAY[usage_owed_debit(
            p_account_id, due.id, due.total, due.meter, due.product_id, method)], p_at) AS d;
        CONTINUE WHEN debit.verdict <> 'ok';
        IF due.currency <> 'CREDIT' THEN
            PERFORM usage_price_in_credits(p_account_id, due.id, due.unit_price, due.total);
        END IF;
        PERFORM usage_set_status(
            p_account_id, due.id, method, 'completed', debit.transaction_id,
            jsonb_build_object('method', method), p_at);
        free := NULL;
        paid := paid + 1;
        RETURN NEXT;
    END LOOP;
END;
$$;
