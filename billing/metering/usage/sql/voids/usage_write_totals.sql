-- Write the new cost of uses that were priced again, in the months of their ids. By itself, because
-- what its caller does for each use must not be planned anew for each.
CREATE OR REPLACE FUNCTION usage_write_totals(p_ids uuid[], p_totals numeric[], p_at timestamptz)
RETURNS void
LANGUAGE sql
SET enable_seqscan = off
SET plan_cache_mode = force_custom_plan
AS $$
    UPDATE billing_records AS r
    SET total_amount = s.total, updated_at = p_at,
        unit_price = least(round(s.total / r.charged_units, 12), 999999999999999)
    FROM unnest(p_ids, p_totals) AS s(id, total)
    WHERE r.id = s.id AND r.month = ANY (usage_months_of(p_ids))
$$;
