-- For credit_capture_fast: whether each account has one item, and every hold is open, on one
-- unexpired lot, with no pending clawback, and covers its capture; with each item's new id, lot,
-- time, and the hold's amount and subject.
CREATE OR REPLACE FUNCTION credit_capture_fit(
    p_items credit_capture_item[], p_at timestamptz, p_real_at timestamptz,
    OUT all_fit boolean, OUT ids uuid[], OUT lots uuid[], OUT as_of timestamptz[],
    OUT held numeric[], OUT subjects text[])
LANGUAGE plpgsql AS $$
BEGIN
    SELECT count(*) = cardinality(p_items) AND count(DISTINCT s.account_id) = count(*),
        array_agg(uuidv7()),
        array_agg(s.lot_id ORDER BY s.place), array_agg(s.as_of ORDER BY s.place),
        array_agg(s.held ORDER BY s.place), array_agg(s.subject ORDER BY s.place)
    INTO all_fit, ids, lots, as_of, held, subjects
    FROM (
        SELECT i.ordinality AS place, i.account_id, l.id AS lot_id, t.as_of, h.amount AS held,
            h.subject
        FROM unnest(p_items) WITH ORDINALITY AS i
        JOIN accounts AS a ON a.id = i.account_id
        JOIN credit_balances AS b ON b.account_id = i.account_id
        JOIN credit_holds AS h ON h.id = i.hold_id AND h.account_id = i.account_id
        JOIN credit_hold_lots AS p ON p.hold_id = i.hold_id AND p.position = 1
        JOIN credit_lots AS l ON l.id = p.lot_id
        CROSS JOIN LATERAL (SELECT coalesce(p_at, a.clock_at, p_real_at) AS as_of) AS t
        WHERE h.status = 'open' AND p.amount = h.amount AND coalesce(i.amount, h.amount) > 0
            AND coalesce(i.amount, h.amount) <= h.amount AND l.claimed = 0
            AND coalesce(l.expires_at > t.as_of, true)
            AND coalesce(b.next_expiry > t.as_of, true)) AS s;
END;
$$;
