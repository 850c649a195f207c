-- Count accepted records on their accounts' quotas, and close their claims. Statements on one
-- account show only its rows, because each reads the list of shown accounts again.
CREATE OR REPLACE FUNCTION usage_count_quotas(
    p_records usage_rated[], p_accounts usage_account[])
RETURNS void
LANGUAGE plpgsql
SET enable_seqscan = off
AS $$
DECLARE
    shown text := current_setting('app.accounts', true);
    quoted uuid[] := ARRAY(SELECT account_id FROM unnest(p_accounts) WHERE has_quotas);
    one record;
BEGIN
    IF cardinality(quoted) > 0 THEN
        FOR one IN
            SELECT account_id, max(created_at) AS at, array_agg((use).id) AS ids,
                array_agg(ROW((use).id, (use).user_id, (use).organization_id, meter,
                    included_units + charged_units, (use).used_at, period_start)::quota_timed_use)
                    AS uses
            FROM unnest(p_records)
            WHERE account_id = ANY (quoted)
            GROUP BY account_id
        LOOP
            PERFORM set_config('app.accounts', one.account_id::text, true);
            PERFORM quota_apply(one.account_id, one.uses, one.at);
            UPDATE quota_claims SET status = 'settled'
            WHERE id = ANY (one.ids) AND status = 'open';
        END LOOP;
        PERFORM set_config('app.accounts', shown, true);
    END IF;
    IF EXISTS (SELECT FROM unnest(p_records) WHERE is_limited) THEN
        -- Of accounts without a quota too: a plan that blocks has set their part aside.
        UPDATE quota_claims SET status = 'settled'
        WHERE id = ANY (ARRAY(SELECT (use).id FROM unnest(p_records))) AND status = 'open';
    END IF;
END;
$$;
