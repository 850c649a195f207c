-- Take a wrong use back, once: a record with its figures below zero goes into all that the use went
-- into, at the use's own time, and both are `refunded`. Credits that paid it go back to their lots.
-- What an invoice or a card charged (`money`, in whole units) is the caller's to give back; such a
-- record counts as paid at once, for the invoice stands. `p_by_card` is what a card was charged, as
-- the caller saw it before; null: nothing.
-- The verdict is that of usage_void_verdict; of a duplicate, `void_id` is the first record. Takes
-- the account's lock.
CREATE OR REPLACE FUNCTION usage_void(
    p_account_id uuid, p_id uuid, p_by_card numeric, p_detail jsonb,
    OUT verdict text, OUT void_id uuid)
LANGUAGE plpgsql
SET enable_seqscan = off
AS $$
DECLARE
    shown text := coalesce(current_setting('app.accounts', true), '');
    use usage_input;
    known record;
    account usage_account;
    money numeric := 0;
    entry uuid;
BEGIN
    PERFORM set_config('app.accounts', p_account_id::text, true);
    SELECT 1, 1, r.occurred_at INTO use.place, use.account, use.used_at
    FROM billing_records AS r WHERE r.id = p_id AND r.account_id = p_account_id;
    account := (usage_open_accounts(ARRAY[p_account_id], ARRAY[use])).accounts[1];
    verdict := usage_void_verdict(p_account_id, p_id, p_by_card IS NOT NULL);
    IF verdict = 'ok' THEN
        void_id := uuidv7();
        SELECT r.billing_method AS method, r.billing_status AS status, r.currency,
            r.total_amount AS total, r.transaction_id,
            EXISTS (SELECT FROM usage_settlements
                WHERE account_id = p_account_id AND p_id = ANY (records)) AS is_listed
        INTO known
        FROM billing_records AS r WHERE r.id = p_id AND r.account_id = p_account_id;
        IF known.method = 'payment_charge' AND known.status = 'completed' THEN
            money := p_by_card;
        ELSIF known.currency <> 'CREDIT' AND (known.status = 'completed' OR known.is_listed) THEN
            money := known.total;
        ELSIF known.currency = 'CREDIT' AND known.transaction_id IS NOT NULL THEN
            entry := usage_give_back(
                p_account_id, p_id, known.transaction_id, known.total, account.as_of);
        END IF;
        PERFORM usage_write_void(
            account, p_id, void_id, money > 0, entry, p_detail || jsonb_build_object(
                'billing_id', public_id('bill', p_id), 'money', public_decimal(money),
                'credits', CASE WHEN entry IS NULL THEN '0' ELSE public_decimal(known.total) END));
    ELSE
        SELECT v.id INTO void_id FROM billing_records AS v WHERE v.voids = p_id;
    END IF;
    PERFORM set_config('app.accounts', shown, true);
END;
$$;
