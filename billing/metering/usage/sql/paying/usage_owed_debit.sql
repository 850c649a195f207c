-- Debit one unpaid use. Its key is that of a manual payment (POST /billing/process), so a use is
-- debited once, however often and in whichever way it is tried.
CREATE OR REPLACE FUNCTION usage_owed_debit(
    p_account_id uuid, p_id uuid, p_amount numeric, p_meter text, p_name text, p_method text)
RETURNS credit_debit_item
LANGUAGE sql STABLE AS $$
    SELECT ROW(
        p_account_id, p_amount, k.key, k.key, concat_ws(': ', 'usage', p_name), p_meter,
        p_method = 'wallet_deduction', n.name, NULL, false)::credit_debit_item
    FROM (SELECT public_id('bill', p_id) AS name) AS n
    CROSS JOIN LATERAL (
        SELECT public_id('acc', p_account_id) || '/request/process/' || n.name AS key) AS k
$$;
