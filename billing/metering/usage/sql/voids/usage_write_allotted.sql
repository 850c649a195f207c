-- Write the units of uses that are included after all, with the cost of the rest and, where that is
-- by its value, its average price, in the months of their ids. By itself, because what its caller
-- does for each use must not be planned anew for each.
CREATE OR REPLACE FUNCTION usage_write_allotted(
    p_account_id uuid, p_ids uuid[], p_units numeric[], p_totals numeric[], p_averages numeric[],
    p_at timestamptz)
RETURNS void
LANGUAGE sql
SET enable_seqscan = off
SET plan_cache_mode = force_custom_plan
AS $$
    WITH allotted AS (
        UPDATE billing_records AS r
        SET included_units = r.included_units + s.units, charged_units = r.charged_units - s.units,
            total_amount = s.total, unit_price = coalesce(s.average, r.unit_price),
            currency = CASE WHEN s.units = r.charged_units THEN 'CREDIT' ELSE r.currency END,
            billing_status = CASE WHEN s.units = r.charged_units
                THEN 'completed' ELSE r.billing_status END,
            updated_at = p_at
        FROM unnest(p_ids, p_units, p_totals, p_averages) AS s(id, units, total, average)
        WHERE r.id = s.id AND r.month = ANY (usage_months_of(p_ids))
        RETURNING r.id, r.billing_status
    )
    INSERT INTO billing_events (id, account_id, billing_id, status_before, status_after, detail, at)
    SELECT uuidv7(), p_account_id, id, 'pending', 'completed',
        '{"reason": "included after all"}', p_at
    FROM allotted WHERE billing_status = 'completed'
$$;
