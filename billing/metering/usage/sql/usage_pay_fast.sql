-- Pay dues by one entry of the ledger each, in their order; null where somebody may not be able to.
-- In one statement for all, or one by one where somebody wants credits bought.
CREATE OR REPLACE FUNCTION usage_pay_fast(p_dues usage_due[]) RETURNS uuid[]
LANGUAGE plpgsql AS $$
DECLARE
    shown text := current_setting('app.accounts', true);
    funds record := usage_solvency_fast(p_dues);
    dues record;
    entries uuid[];
    one record;
BEGIN
    IF NOT funds.is_certain THEN
        RETURN NULL;
    END IF;
    SELECT array_agg(d.account_id) AS accounts, array_agg(d.as_of) AS times,
        array_agg(d.amount) AS amounts, array_agg(d.key) AS keys, array_agg(d.reason) AS reasons,
        bool_or(d.bought_only) AS bought_only
    INTO dues
    FROM unnest(p_dues) AS d;
    IF funds.is_plain THEN
        FOR one IN SELECT d.account_id, max(d.as_of) AS as_of FROM unnest(p_dues) AS d
            WHERE d.account_id = ANY (funds.expired) GROUP BY d.account_id
        LOOP
            PERFORM set_config('app.accounts', one.account_id::text, true);
            PERFORM credit_settle(one.account_id, one.as_of);
            PERFORM set_config('app.accounts', shown, true);
        END LOOP;
        SELECT CASE WHEN s.whole THEN s.entries END INTO entries
        FROM credit_debit_fast(
            dues.accounts, dues.times, dues.amounts, dues.keys, dues.reasons,
            dues.bought_only) AS s;
    ELSE
        SELECT CASE WHEN bool_and(d.transaction_id IS NOT NULL)
            THEN array_agg(d.transaction_id ORDER BY d.place) END INTO entries
        FROM credit_debit_many(ARRAY(
            SELECT ROW(u.account_id, u.amount, u.key, u.key, u.reason, NULL, u.bought_only, NULL,
                NULL, false)::credit_debit_item
            FROM unnest(p_dues) AS u)) AS d;
    END IF;
    IF entries IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'serialization_failure',
            MESSAGE = 'credits ended while they were counted';
    END IF;
    RETURN entries;
END;
$$;
