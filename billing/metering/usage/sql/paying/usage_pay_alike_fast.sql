-- Pay dues that all use the same credits, in one statement, or one by one. `p_lots` are those that
-- pay them, each of another account; where none are named, they are searched.
CREATE OR REPLACE FUNCTION usage_pay_alike_fast(
    p_dues usage_due[], p_lots uuid[], p_apart boolean)
RETURNS uuid[]
LANGUAGE plpgsql AS $$
DECLARE
    entries uuid[];
    due record;
BEGIN
    IF p_apart THEN
        SELECT CASE WHEN bool_and(d.transaction_id IS NOT NULL)
            THEN array_agg(d.transaction_id ORDER BY d.place) END INTO entries
        FROM credit_debit_many(ARRAY(
            SELECT ROW(u.account_id, u.amount, u.key, u.key, u.reason, NULL, u.bought_only, NULL,
                NULL, false)::credit_debit_item
            FROM unnest(p_dues) WITH ORDINALITY AS u ORDER BY u.ordinality)) AS d;
    ELSE
        SELECT array_agg(d.account_id) AS accounts, array_agg(d.as_of) AS times,
            array_agg(d.amount) AS amounts, array_agg(d.key) AS keys,
            array_agg(d.reason) AS reasons, bool_or(d.bought_only) AS bought_only
        INTO due FROM unnest(p_dues) AS d;
        IF cardinality(p_lots) > 0 THEN
            entries := credit_debit_apart_fast(due.accounts, due.times, due.amounts, due.keys,
                due.reasons, p_lots, due.bought_only);
        ELSE
            SELECT CASE WHEN s.whole THEN s.entries END INTO entries
            FROM credit_debit_fast(due.accounts, due.times, due.amounts, due.keys, due.reasons,
                due.bought_only) AS s;
        END IF;
    END IF;
    IF entries IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'serialization_failure',
            MESSAGE = 'credits ended while they were counted';
    END IF;
    RETURN entries;
END;
$$;
