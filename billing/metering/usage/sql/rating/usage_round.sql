-- Round a price's result: credits to six decimals, money to twelve (an invoice line rounds it to
-- the currency's units), half away from zero.
CREATE OR REPLACE FUNCTION usage_round(p_amount numeric, p_currency text) RETURNS numeric
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT round(p_amount, CASE p_currency WHEN 'CREDIT' THEN 6 ELSE 12 END)
$$;
