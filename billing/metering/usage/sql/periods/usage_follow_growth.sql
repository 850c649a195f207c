-- Where the allowance of an open cycle has grown, more is included of what was used already: it
-- covers what goes beyond the plan and is on no invoice yet, as the units of a use that was taken
-- back do; but for units of a level that stay beyond it (usage_with_units_beyond). Expects the
-- account's lock.
CREATE OR REPLACE FUNCTION usage_follow_growth(
    p_account_id uuid, p_period_start timestamptz, p_at timestamptz)
RETURNS void
LANGUAGE plpgsql
SET enable_seqscan = off
AS $$
DECLARE
    one record;
BEGIN
    FOR one IN
        SELECT l.meter, CASE WHEN l.lim ? 'beyond' THEN c.overage - (l.lim ->> 'beyond')::numeric
                - greatest(0, c.quantity - (l.lim ->> 'included')::numeric)
            ELSE least(c.overage, (l.lim ->> 'included')::numeric - c.covered) END AS units
        FROM usage_periods AS p
        CROSS JOIN LATERAL jsonb_each(p.limits) AS l(meter, lim)
        CROSS JOIN LATERAL (
            SELECT quantity, overage, covered FROM usage_cycles
            WHERE account_id = p_account_id AND owner = '' AND period_start = p_period_start
                AND meter = l.meter
            LIMIT 1) AS c
        WHERE p.account_id = p_account_id AND p.start_at = p_period_start
    LOOP
        IF one.units > 0 THEN
            PERFORM usage_allot_again(p_account_id, p_period_start, one.meter, one.units, p_at);
            PERFORM usage_price_again(p_account_id, p_period_start, one.meter, p_at);
        END IF;
    END LOOP;
END;
$$;
