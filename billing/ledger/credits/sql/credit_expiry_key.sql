-- The key of the entry that a lot's time is over. A lot that got credits back afterwards has time
-- again, and so expires again: each expiry has a key of its own.
CREATE OR REPLACE FUNCTION credit_expiry_key(p_lot text, p_seq bigint) RETURNS text
LANGUAGE sql STABLE AS $$
    SELECT p_lot || '/expire' || CASE
        WHEN EXISTS (SELECT FROM credit_transactions AS t WHERE t.key = p_lot || '/expire')
            THEN '/' || p_seq ELSE '' END
$$;
