-- Spend an amount of a hold (null: all of it), from its first lot on, and release the rest; final.
-- The caller writes its usage log: a billing record, or what credit_capture_one writes.
-- Verdicts: ok; duplicate (captured before: same amount, reason and detail); captured (otherwise,
-- such as by a use), released, expired; exceeded; no_hold; no_account.
CREATE OR REPLACE FUNCTION credit_capture_held(
    p_item credit_capture_item, p_at timestamptz DEFAULT NULL)
RETURNS credit_capture_answer
LANGUAGE plpgsql
SET enable_seqscan = off
SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
    shown text := coalesce(current_setting('app.accounts', true), '');
    as_of timestamptz := credit_open(p_item.account_id, p_at);
    known record;
    answer credit_capture_answer;
    posting credit_posting;
BEGIN
    SELECT h.amount, h.captured, h.status, h.subject INTO known
    FROM credit_holds AS h WHERE h.id = p_item.hold_id AND h.account_id = p_item.account_id;
    answer.hold_id := p_item.hold_id;
    answer.captured := coalesce(p_item.amount, known.amount);
    answer.released := known.amount - answer.captured;
    posting := ROW(p_item.account_id, 'capture', public_id('hld', p_item.hold_id) || '/capture',
        NULL, p_item.reason, known.subject, p_item.detail, as_of);
    answer.verdict := credit_hold_verdict(
        as_of, known.status, known.captured = answer.captured AND EXISTS (
            SELECT FROM credit_transactions AS t
            WHERE t.key = posting.key AND t.reason = posting.reason
                AND t.detail = coalesce(posting.detail, '{}')));
    IF answer.verdict = 'ok' AND answer.captured > known.amount THEN
        answer.verdict := 'exceeded';
    END IF;
    IF answer.verdict = 'ok' THEN
        PERFORM credit_spend_held(p_item.hold_id, answer.captured, posting);
        PERFORM credit_release_lots(p_item.account_id, p_item.hold_id, answer.captured, as_of);
        UPDATE credit_holds AS h
        SET status = 'captured', captured = answer.captured, resolved_at = as_of
        WHERE h.id = p_item.hold_id;
    END IF;
    SELECT t.id INTO answer.transaction_id
    FROM credit_transactions AS t WHERE t.key = posting.key;
    -- What is released may be clawed back or expire at once: the balance is that after all of it.
    -- By the keys alone, which name this hold: with the account, a plan reads its whole ledger.
    SELECT t.balance_after INTO answer.balance
    FROM credit_transactions AS t
    WHERE t.key = ANY (posting.key || ARRAY(
        SELECT public_id('hld', p.hold_id) || '/' || public_id('lot', p.lot_id) || e.entry
        FROM credit_hold_lots AS p CROSS JOIN (VALUES ('/clawback'), ('/expire')) AS e(entry)
        WHERE p.hold_id = p_item.hold_id))
    ORDER BY t.seq DESC LIMIT 1;
    PERFORM set_config('app.accounts', shown, true);
    RETURN answer;
END;
$$;
