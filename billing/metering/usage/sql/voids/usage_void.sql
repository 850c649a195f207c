-- Void a wrong use once: a record with its negative figures counts wherever the use counted, at the
-- use's own time, and both become `refunded`. Credits that paid it return to their lots. The caller
-- has read a charge by invoice or card as `p_charged`, in whole units (null: none), and refunds it;
-- such a record counts as paid at once, because the invoice stands. For verdicts see
-- usage_void_verdict; of a duplicate, `void_id` is the first record. Takes the account's lock.
CREATE OR REPLACE FUNCTION usage_void(
    p_account_id uuid, p_id uuid, p_charged numeric, p_detail jsonb,
    OUT verdict text, OUT void_id uuid)
LANGUAGE plpgsql
SET enable_seqscan = off
AS $$
DECLARE
    shown text := coalesce(current_setting('app.accounts', true), '');
    use usage_input;
    known record;
    account usage_account;
    entry uuid;
BEGIN
    PERFORM set_config('app.accounts', p_account_id::text, true);
    -- By the id alone: with the account, a plan for an average one reads all of a giant's month.
    SELECT 1, 1, r.occurred_at INTO use.place, use.account, use.used_at
    FROM (
        SELECT account_id, occurred_at FROM billing_records
        WHERE id = p_id AND month = ANY (usage_record_months(p_id)) OFFSET 0) AS r
    WHERE r.account_id = p_account_id;
    account := (usage_open_accounts(ARRAY[p_account_id], ARRAY[use])).accounts[1];
    verdict := usage_void_verdict(p_account_id, p_id, p_charged IS NOT NULL);
    IF verdict = 'ok' THEN
        void_id := usage_void_id(p_id);
        SELECT r.total_amount AS total, r.transaction_id INTO known
        FROM billing_records AS r
        WHERE r.id = p_id AND r.month = ANY (usage_record_months(p_id));
        IF p_charged IS NULL AND known.transaction_id IS NOT NULL THEN
            entry := usage_give_back(
                p_account_id, p_id, known.transaction_id, known.total, account.as_of);
        END IF;
        PERFORM usage_write_void(
            account, p_id, void_id, p_charged IS NOT NULL, entry, p_detail || jsonb_build_object(
                'billing_id', public_id('bill', p_id),
                'money', public_decimal(coalesce(p_charged, 0)),
                'credits', CASE WHEN entry IS NULL THEN '0' ELSE public_decimal(known.total) END));
        PERFORM usage_follow_past(p_account_id, use.used_at, account.as_of);
    ELSE
        SELECT v.id INTO void_id FROM billing_records AS v
        WHERE v.id = usage_void_id(p_id) AND v.voids = p_id
            AND v.month = ANY (usage_record_months(p_id));
    END IF;
    PERFORM set_config('app.accounts', shown, true);
END;
$$;
