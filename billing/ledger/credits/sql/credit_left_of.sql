-- What is left of a grant to claw back, spent or not: nothing has taken it back, claimed it or
-- counted it as lost. The lot's table checks that it is never negative. Inlined where it is called.
CREATE OR REPLACE FUNCTION credit_left_of(p_lot credit_lots) RETURNS numeric
LANGUAGE sql IMMUTABLE AS $$
    SELECT p_lot.amount - p_lot.clawed - p_lot.claimed - p_lot.lost
$$;
