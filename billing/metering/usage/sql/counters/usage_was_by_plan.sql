-- True for a record that voids a use which the plan's own price sold beyond its allowance: no
-- product price has rated it, whatever the invoice's charge makes of the record. With a setting, so
-- that it is not inlined as a sub-select.
CREATE OR REPLACE FUNCTION usage_was_by_plan(p_voids uuid, p_month date, p_currency text)
RETURNS boolean
LANGUAGE sql STABLE
SET enable_seqscan = off
SET plan_cache_mode = force_generic_plan
AS $$
    SELECT p_currency <> 'CREDIT' AND EXISTS (
        SELECT FROM billing_records AS r
        WHERE r.id = p_voids AND r.month = p_month AND r.billing_method <> 'payment_charge')
$$;
