-- What becomes of credits that come back, in this order: of what a hold gives back to a lot, first
-- what a clawback waits for is taken, then what belongs to an expired lot expires. Of a lot whose
-- time is over, all that is neither spent nor held expires.
CREATE OR REPLACE FUNCTION credit_shares(p_returns credit_return[]) RETURNS SETOF credit_share
LANGUAGE sql STABLE AS $$
    SELECT s.place, s.hold_id, s.lot_id, s.amount, s.at, s.clawed, CASE
        WHEN s.hold_id IS NOT NULL THEN s.expired
        ELSE s.free + sum(s.amount - s.clawed - s.expired) OVER (
            PARTITION BY s.lot_id ORDER BY s.place) END
    FROM (
        SELECT c.place, c.hold_id, c.lot_id, c.amount, c.at, c.free, c.clawed,
            CASE WHEN c.expires_at <= c.at AND c.hold_id IS NOT NULL
                THEN c.amount - c.clawed ELSE 0 END AS expired
        FROM (
            SELECT r.place, r.hold_id, r.lot_id, r.amount, r.at, l.expires_at,
                l.remaining - l.held AS free,
                least(l.claimed, sum(r.amount) OVER w)
                    - least(l.claimed, sum(r.amount) OVER w - r.amount) AS clawed
            FROM unnest(p_returns) WITH ORDINALITY AS r(hold_id, lot_id, amount, at, place)
            LEFT JOIN credit_lots AS l ON l.id = r.lot_id
            WINDOW w AS (PARTITION BY r.lot_id ORDER BY r.place)) AS c) AS s
$$;
