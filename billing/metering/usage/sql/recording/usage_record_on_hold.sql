-- Record one use that its hold pays: rated and counted like any other, what it costs captured from
-- the hold and the rest of the hold released, in one transaction. A use that costs nothing releases
-- the hold; one that is refused leaves it open.
-- Verdicts: those of usage_record; HOLD_NOT_FOUND; HOLD_RESOLVED, with the hold's end as `status`;
-- HOLD_EXCEEDED, with what was held as `available`; HOLD_SCOPE: it has credits for another meter.
-- Expects the account's lock.
CREATE OR REPLACE FUNCTION usage_record_on_hold(
    p_account_id uuid, p_kind usage_kind, p_use usage_input)
RETURNS usage_answer
LANGUAGE plpgsql
SET enable_seqscan = off
AS $$
DECLARE
    answer usage_answer;
    account usage_account;
    hold record;
    records usage_rated[];
BEGIN
    PERFORM set_config('app.accounts', p_account_id::text, true);
    p_use.account := 1;
    p_use.kind := 1;
    p_use := (usage_as_claimed(ARRAY[p_use]))[1];
    SELECT a.* INTO answer FROM usage_repeat_answers(ARRAY[p_use],
        usage_own_records(ARRAY[p_use.id]) || CASE WHEN p_use.event_id IS NOT NULL
            THEN usage_repeats(ARRAY[p_use.id]) END) AS a;
    IF FOUND THEN
        RETURN answer;
    END IF;
    account := (usage_open_accounts(ARRAY[p_account_id], ARRAY[p_use])).accounts[1];
    PERFORM credit_open(p_account_id, account.as_of);
    SELECT h.id, h.status, h.amount, h.paid_only INTO hold FROM credit_holds AS h
    WHERE h.id = p_use.hold_id AND h.account_id = p_account_id;
    IF hold.status IS DISTINCT FROM 'open' THEN
        answer.place := p_use.place;
        answer.id := p_use.id;
        answer.verdict := CASE WHEN hold.id IS NULL THEN 'HOLD_NOT_FOUND' ELSE 'HOLD_RESOLVED' END;
        answer.status := hold.status;
        RETURN answer;
    END IF;
    p_kind.method := CASE WHEN hold.paid_only THEN 'wallet_deduction' ELSE 'credit_consumption' END;
    records := usage_rate_uses(ARRAY[account], ARRAY[p_kind], ARRAY[p_use]);
    records := usage_refuse_beyond_limits(ARRAY[account], records);
    IF records[1].failure IS NULL AND records[1].total_amount > hold.amount THEN
        records[1].failure := 'HOLD_EXCEEDED';
        records[1].available := hold.amount;
    ELSIF records[1].failure IS NULL AND records[1].total_amount > 0 AND EXISTS (
        SELECT FROM credit_hold_lots AS p JOIN credit_lots AS l ON l.id = p.lot_id
        WHERE p.hold_id = p_use.hold_id AND l.scope <> records[1].meter)
    THEN
        records[1].failure := 'HOLD_SCOPE';
    ELSIF records[1].failure IS NULL THEN
        records := usage_capture(records, p_use.hold_id);
        PERFORM usage_write_accepted(records, ARRAY[account]);
        PERFORM usage_notify_budgets(ARRAY[account], '{}');
    END IF;
    SELECT a.* INTO answer FROM usage_answer_of(records[1]) AS a;
    RETURN answer;
END;
$$;
