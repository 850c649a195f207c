-- For credit_hold_fast_v2: whether every item fits into the first lot that burns and nothing needs
-- a closer look; with each item's new id, lot, time, end, and what the account had to expire next.
CREATE OR REPLACE FUNCTION credit_hold_fit_v2(
    p_items credit_hold_item_v2[], p_at timestamptz, p_real_at timestamptz,
    OUT all_fit boolean, OUT ids uuid[], OUT lots uuid[], OUT as_of timestamptz[],
    OUT ends timestamptz[], OUT before timestamptz[])
LANGUAGE plpgsql AS $$
BEGIN
    SELECT count(*) = cardinality(p_items), array_agg(uuidv7()),
        array_agg(s.lot_id ORDER BY s.place), array_agg(s.as_of ORDER BY s.place),
        array_agg(s.ends ORDER BY s.place), array_agg(s.next_expiry ORDER BY s.place)
    INTO all_fit, ids, lots, as_of, ends, before
    FROM (
        SELECT i.ordinality AS place, l.id AS lot_id, t.as_of, e.ends, b.next_expiry
        FROM unnest(p_items) WITH ORDINALITY AS i
        JOIN accounts AS a ON a.id = i.account_id
        JOIN credit_balances AS b ON b.account_id = i.account_id
        CROSS JOIN LATERAL (SELECT coalesce(p_at, a.clock_at, p_real_at) AS as_of) AS t
        CROSS JOIN LATERAL (SELECT coalesce(i.expires_at, t.as_of + i.lifetime) AS ends) AS e
        CROSS JOIN LATERAL (
            SELECT o.id, o.free FROM credit_burn_order(i.account_id) AS o
            WHERE credit_may_burn(o.scope, o.is_paid, i.scope, i.paid_only)
            LIMIT 1) AS l
        WHERE l.free >= i.amount AND e.ends > t.as_of AND coalesce(b.next_expiry > t.as_of, true)
            AND NOT coalesce(b.top_up_below > b.balance - b.held - i.amount, false)
            AND NOT EXISTS (SELECT FROM credit_holds AS h WHERE h.key = i.key)) AS s;
END;
$$;
