-- Whether a lot may be spent on this: general ones on anything, scoped ones on their scope.
CREATE OR REPLACE FUNCTION credit_may_burn(
    p_lot_scope text, p_lot_is_paid boolean, p_scope text, p_paid_only boolean)
RETURNS boolean
LANGUAGE sql IMMUTABLE AS $$
    SELECT coalesce(p_lot_scope = p_scope, p_lot_scope IS NULL)
        AND (p_lot_is_paid OR NOT coalesce(p_paid_only, false))
$$;
