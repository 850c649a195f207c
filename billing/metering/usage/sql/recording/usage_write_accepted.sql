-- Write accepted records: quotas first, then records and counters, then updates of invoices, of
-- unpaid uses and of open periods in which late uses count.
CREATE OR REPLACE FUNCTION usage_write_accepted(
    p_records usage_rated[], p_accounts usage_account[])
RETURNS void
LANGUAGE plpgsql
SET enable_seqscan = off
AS $$
DECLARE
    shown text := current_setting('app.accounts', true);
    one record;
BEGIN
    IF cardinality(p_records) = 0 THEN
        RETURN;
    END IF;
    PERFORM usage_count_quotas(p_records, p_accounts);
    PERFORM usage_write_records(p_records);
    PERFORM usage_note_unpaid(r.account_id, array_agg((r.use).id), max(r.created_at))
    FROM unnest(p_records) AS r
    WHERE r.billing_status = 'pending' AND r.currency = 'CREDIT'
    GROUP BY r.account_id;
    IF EXISTS (SELECT FROM unnest(p_records) WHERE is_late AND currency <> 'CREDIT') THEN
        PERFORM usage_note_late(p_records);
    END IF;
    FOR one IN
        SELECT account_id, max(created_at) AS at FROM unnest(p_records)
        WHERE currency <> 'CREDIT' AND billing_method = 'subscription_included' AND NOT is_late
        GROUP BY account_id
    LOOP
        PERFORM set_config('app.accounts', one.account_id::text, true);
        PERFORM usage_threshold(one.account_id, one.at);
        PERFORM set_config('app.accounts', shown, true);
    END LOOP;
    FOR one IN
        SELECT account_id, max(occurred_at) AS used_at, max(created_at) AS at
        FROM unnest(p_records) WHERE is_late
        GROUP BY account_id
    LOOP
        PERFORM set_config('app.accounts', one.account_id::text, true);
        PERFORM usage_follow_past(one.account_id, one.used_at, one.at);
        PERFORM set_config('app.accounts', shown, true);
    END LOOP;
END;
$$;
