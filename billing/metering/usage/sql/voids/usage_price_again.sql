-- Price again, in order, a cycle's uses beyond the plan that are on no invoice yet, because others
-- were voided or are included after all: if all use has one price (usage_common_price), with tiers,
-- packages or free units. Otherwise each keeps what it cost. Expects the account's lock.
CREATE OR REPLACE FUNCTION usage_price_again(
    p_account_id uuid, p_period_start timestamptz, p_meter text, p_at timestamptz)
RETURNS void
LANGUAGE plpgsql
SET enable_seqscan = off
AS $$
DECLARE
    common CONSTANT jsonb := usage_common_price(p_account_id, p_period_start, p_meter);
    terms record;
    waiting record;
    changed record;
    units numeric[];
    before numeric;
    paid numeric;
    totals numeric[] := '{}';
BEGIN
    -- By a percentage each use has a price of its own, too.
    IF jsonb_typeof(common) IS DISTINCT FROM 'object' OR common ->> 'model' = 'percentage' THEN
        RETURN;
    END IF;
    SELECT array_agg(r.id ORDER BY r.occurred_at, r.written_at, r.id) AS ids,
        array_agg(r.charged_units ORDER BY r.occurred_at, r.written_at, r.id) AS units,
        array_agg(r.total_amount ORDER BY r.occurred_at, r.written_at, r.id) AS totals,
        sum(r.charged_units) AS quantity, sum(r.total_amount) AS total
    INTO waiting
    FROM usage_waiting(p_account_id, p_period_start, p_meter) AS r;
    IF waiting.ids IS NULL THEN
        RETURN;
    END IF;
    SELECT usage_price_of(common) AS price, p.currency INTO terms
    FROM usage_periods AS p
    WHERE p.account_id = p_account_id AND p.start_at = p_period_start;
    SELECT c.overage - waiting.quantity, c.overage_total - waiting.total INTO before, paid
    FROM usage_cycles AS c
    WHERE c.account_id = p_account_id AND c.owner = '' AND c.period_start = p_period_start
        AND c.meter = p_meter;
    -- An element of a record's array is found by walking there, of a variable's at once.
    units := waiting.units;
    FOR n IN 1 .. cardinality(units) LOOP
        totals[n] := usage_charge_after(terms.price, terms.currency, before, units[n], paid);
        before := before + units[n];
        paid := paid + totals[n];
    END LOOP;
    -- With tiers most uses keep their price: only the others are written and counted again.
    SELECT array_agg(s.id) AS ids, array_agg(s.total) AS totals INTO changed
    FROM unnest(waiting.ids, waiting.totals, totals) AS s(id, known, total)
    WHERE s.total <> s.known;
    IF changed.ids IS NULL THEN
        RETURN;
    END IF;
    PERFORM usage_count_again(p_account_id, changed.ids, -1);
    PERFORM usage_write_totals(changed.ids, changed.totals, p_at);
    PERFORM usage_count_again(p_account_id, changed.ids, 1);
END;
$$;
