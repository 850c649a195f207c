-- Whether a use may be voided: ok; duplicate (already voided); no_record; correction (it voids a
-- use itself, or rounds a line); level (readings cannot be voided); charging (a card is being
-- charged, or a card or invoice has charged it meanwhile: `p_is_charged` says that the caller
-- knew).
CREATE OR REPLACE FUNCTION usage_void_verdict(
    p_account_id uuid, p_id uuid, p_is_charged boolean)
RETURNS text
LANGUAGE sql STABLE
SET enable_seqscan = off
SET plan_cache_mode = force_generic_plan
AS $$
    SELECT coalesce((
        SELECT CASE
            WHEN r.account_id <> p_account_id THEN 'no_record'
            WHEN r.kind <> 'usage' OR r.voids IS NOT NULL THEN 'correction'
            WHEN EXISTS (
                SELECT FROM billing_records AS v
                WHERE v.id = usage_void_id(r.id) AND v.month = r.month AND v.voids = r.id)
                THEN 'duplicate'
            WHEN usage_is_level(m.kind) THEN 'level'
            WHEN usage_is_charging(r.billing_status, r.billing_method)
                OR NOT p_is_charged AND usage_is_charged(r) THEN 'charging'
            ELSE 'ok' END
        FROM billing_records AS r LEFT JOIN meters AS m ON m.key = r.meter
        WHERE r.id = p_id AND r.month = ANY (usage_record_months(p_id))), 'no_record')
$$;
