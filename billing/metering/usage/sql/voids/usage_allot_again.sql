-- Units of the plan's allowance became free in a cycle: they cover uses beyond it that are on no
-- invoice yet, the latest first. Where the allowance has shrunk below what was used, it is full
-- without them. Expects the account's lock.
CREATE OR REPLACE FUNCTION usage_allot_again(
    p_account_id uuid, p_period_start timestamptz, p_meter text, p_units numeric, p_at timestamptz)
RETURNS void
LANGUAGE plpgsql
SET enable_seqscan = off
SET plan_cache_mode = force_custom_plan
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
    SELECT array_agg(s.id) AS ids, array_agg(s.reach) AS reaches, array_agg(least(
        s.charged_units, room - s.reach + s.charged_units)) AS units
    INTO found
    FROM (
        SELECT r.id, r.charged_units, sum(r.charged_units) OVER (
            ORDER BY r.occurred_at DESC, r.written_at DESC NULLS LAST, r.id DESC) AS reach
        FROM usage_waiting(p_account_id, p_period_start, p_meter) AS r) AS s
    WHERE s.reach - s.charged_units < room;
    IF found.ids IS NULL THEN
        RETURN;
    END IF;
    PERFORM usage_count_again(p_account_id, found.ids, -1);
    WITH allotted AS (
        UPDATE billing_records AS r
        SET included_units = r.included_units + s.units, charged_units = r.charged_units - s.units,
            total_amount = s.total, updated_at = p_at,
            unit_price = CASE WHEN s.by_percentage AND NOT s.is_all
                THEN least(round(s.total / (r.charged_units - s.units), 12), 999999999999999)
                ELSE r.unit_price END,
            currency = CASE WHEN s.is_all THEN 'CREDIT' ELSE r.currency END,
            billing_status = CASE WHEN s.is_all THEN 'completed' ELSE r.billing_status END
        FROM (
            SELECT u.id, u.units, u.units = b.charged_units AS is_all, t.by_percentage, CASE
                WHEN b.total_amount = 0 THEN 0
                -- Its price is by its value, after those before it: that of a unit is an average.
                WHEN t.by_percentage THEN usage_charge_use(usage_price_of(t.price), b.currency,
                    beyond - u.reach, b.charged_units - u.units, NULL)
                ELSE usage_charge_units(b.charged_units - u.units, b.unit_price, b.currency)
                END AS total
            FROM unnest(found.ids, found.units, found.reaches) AS u(id, units, reach)
            JOIN billing_records AS b ON b.id = u.id AND b.month = ANY (usage_months_of(found.ids))
            LEFT JOIN LATERAL (
                SELECT p.price,
                    p.price ->> 'model' IS NOT DISTINCT FROM 'percentage' AS by_percentage
                FROM usage_overage_prices(p_account_id, p_period_start, p_meter) AS p
                WHERE b.occurred_at < p.until OR b.written_at < p.written
                ORDER BY p.place LIMIT 1) AS t ON true) AS s
        WHERE r.id = s.id AND r.month = ANY (usage_months_of(found.ids))
        RETURNING r.id, r.billing_status
    )
    INSERT INTO billing_events (id, account_id, billing_id, status_before, status_after, detail, at)
    SELECT uuidv7(), p_account_id, id, 'pending', 'completed',
        '{"reason": "included after all"}', p_at
    FROM allotted WHERE billing_status = 'completed';
    PERFORM usage_count_again(p_account_id, found.ids, 1);
END;
$$;
