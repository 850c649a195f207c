-- Units of the plan's allowance became free in a cycle: they cover uses beyond it that are on no
-- invoice yet, the latest first. Where the allowance has shrunk below what was used, it is full
-- without them. Expects the account's lock.
CREATE OR REPLACE FUNCTION usage_allot_again(
    p_account_id uuid, p_period_start timestamptz, p_meter text, p_units numeric, p_at timestamptz)
RETURNS void
LANGUAGE plpgsql
SET enable_seqscan = off
AS $$
DECLARE
    found record;
    beyond numeric;
    room numeric;
BEGIN
    SELECT c.overage, (
        SELECT (p.limits -> p_meter ->> 'included')::numeric - c.covered FROM usage_periods AS p
        WHERE p.account_id = p_account_id AND p.start_at = p_period_start
            -- What is free beyond it by now takes nothing of it.
            AND p.limits -> p_meter ->> 'then' <> 'notify')
    INTO beyond, room
    FROM usage_cycles AS c
    WHERE c.account_id = p_account_id AND c.owner = '' AND c.period_start = p_period_start
        AND c.meter = p_meter;
    room := least(p_units, room);
    SELECT array_agg(a.id) AS ids, array_agg(a.units) AS units, array_agg(a.total) AS totals,
        array_agg(CASE WHEN a.by_percentage AND a.rest > 0
            THEN least(round(a.total / a.rest, 12), 999999999999999) END) AS averages
    INTO found
    FROM (
        SELECT u.id, u.charged_units - u.rest AS units, u.rest, t.by_percentage, CASE
            WHEN u.total_amount = 0 THEN 0
            -- Its price is by its value, after those before it: that of a unit is an average.
            WHEN t.by_percentage THEN usage_charge_use(
                usage_price_of(t.price), u.currency, beyond - u.reach, u.rest, NULL)
            ELSE usage_charge_units(u.rest, u.unit_price, u.currency) END AS total
        FROM (
            SELECT s.*, s.charged_units - least(
                s.charged_units, room - s.reach + s.charged_units) AS rest
            FROM (
                SELECT r.id, r.charged_units, r.total_amount, r.unit_price, r.currency,
                    r.occurred_at, r.written_at, sum(r.charged_units) OVER (
                        ORDER BY r.occurred_at DESC, r.written_at DESC NULLS LAST, r.id DESC)
                        AS reach
                FROM usage_waiting(p_account_id, p_period_start, p_meter) AS r) AS s
            WHERE s.reach - s.charged_units < room) AS u
        LEFT JOIN LATERAL (
            SELECT p.price, p.price ->> 'model' IS NOT DISTINCT FROM 'percentage' AS by_percentage
            FROM usage_overage_prices(p_account_id, p_period_start, p_meter) AS p
            WHERE u.occurred_at < p.until OR u.written_at < p.written
            ORDER BY p.place LIMIT 1) AS t ON true) AS a;
    IF found.ids IS NULL THEN
        RETURN;
    END IF;
    PERFORM usage_count_again(p_account_id, found.ids, -1);
    PERFORM usage_write_allotted(
        p_account_id, found.ids, found.units, found.totals, found.averages, p_at);
    PERFORM usage_count_again(p_account_id, found.ids, 1);
END;
$$;
