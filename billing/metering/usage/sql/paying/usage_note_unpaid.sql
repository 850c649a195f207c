-- Add uses of one account that were deferred, or whose payment failed, to its unpaid uses. Its
-- matter handles them when they are overdue at the latest: it notifies the customer and tries a
-- card.
CREATE OR REPLACE FUNCTION usage_note_unpaid(
    p_account_id uuid, p_records uuid[], p_at timestamptz)
RETURNS void
LANGUAGE sql
SET enable_seqscan = off
SET plan_cache_mode = force_custom_plan
AS $$
    INSERT INTO unpaid_uses (record_id, account_id, used_at, overdue_at, charge_at)
    SELECT id, account_id, occurred_at, p_at + usage_overdue_after(), p_at + usage_overdue_after()
    FROM billing_records
    WHERE id = ANY (p_records) AND month = ANY (usage_months_of(p_records))
        AND account_id = p_account_id
    ON CONFLICT (record_id) DO NOTHING;
    SELECT account_watch(p_account_id, p_at + usage_overdue_after(), p_at);
$$;
