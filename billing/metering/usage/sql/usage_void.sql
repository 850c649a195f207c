-- Take a wrong use back, once: a record with its figures below zero goes into all that the use went
-- into, at the use's own time, and both are `refunded`. Credits that paid it go back to their lots.
-- What an invoice or a card charged (`money`, in whole units) is the caller's to give back; such a
-- record counts as paid at once, for the invoice stands.
-- Verdicts: ok; duplicate (taken back before: the first record); no_record; correction (it takes a
-- use back itself, or rounds a line); level (the next reading corrects it); charging (a card is
-- asked). Takes the account's lock.
CREATE OR REPLACE FUNCTION usage_void(
    p_account_id uuid, p_id uuid, p_detail jsonb, OUT verdict text, OUT void_id uuid)
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
    -- The matter of a card's charge locks the record first.
    PERFORM 1 FROM billing_records
    WHERE id = p_id AND account_id = p_account_id AND billing_method = 'payment_charge'
    FOR UPDATE;
    SELECT 1, 1, r.occurred_at INTO use.place, use.account, use.used_at
    FROM billing_records AS r WHERE r.id = p_id AND r.account_id = p_account_id;
    account := (usage_open_accounts(ARRAY[p_account_id], ARRAY[use])).accounts[1];
    SELECT r.id, r.kind, r.voids, r.billing_method AS method, r.billing_status AS status,
        r.currency, r.total_amount AS total, r.transaction_id,
        m.kind AS counts,
        EXISTS (
            SELECT FROM usage_settlements WHERE account_id = p_account_id AND p_id = ANY (records)
        ) AS is_listed
    INTO known
    FROM billing_records AS r LEFT JOIN meters AS m ON m.key = r.meter
    WHERE r.id = p_id AND r.account_id = p_account_id;
    SELECT v.id INTO void_id FROM billing_records AS v WHERE v.voids = p_id;
    verdict := CASE
        WHEN known.id IS NULL THEN 'no_record'
        WHEN known.kind <> 'usage' OR known.voids IS NOT NULL THEN 'correction'
        WHEN void_id IS NOT NULL THEN 'duplicate'
        WHEN known.counts IN ('max', 'last') THEN 'level'
        WHEN known.currency <> 'CREDIT' AND known.method = 'payment_charge'
            AND known.status IN ('pending', 'processing') THEN 'charging'
        ELSE 'ok' END;
    IF verdict = 'ok' THEN
        void_id := uuidv7();
        IF known.currency <> 'CREDIT' AND (known.status = 'completed' OR known.is_listed) THEN
            money := known.total;
        ELSIF known.currency = 'CREDIT' AND known.transaction_id IS NOT NULL THEN
            entry := usage_give_back(
                p_account_id, p_id, known.transaction_id, known.total, account.as_of);
        END IF;
        PERFORM usage_write_void(
            account, p_id, void_id, money > 0, entry, p_detail || jsonb_build_object(
                'billing_id', public_id('bill', p_id), 'money', public_decimal(money),
                'credits', CASE WHEN entry IS NULL THEN '0' ELSE public_decimal(known.total) END));
    END IF;
    PERFORM set_config('app.accounts', shown, true);
END;
$$;
