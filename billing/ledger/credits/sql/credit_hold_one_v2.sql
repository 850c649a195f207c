-- Set credits aside from lots in burn order until the item's expires_at, or for its lifetime, once
-- per key.
-- Verdicts: ok; duplicate (same key and hash: the first hold, as it stands now); conflict (same
-- key, other hash); ends_in_the_past (it would end before it begins); insufficient (with what is
-- available); no_account. `top_up` says that the account now wants more credits.
CREATE OR REPLACE FUNCTION credit_hold_one_v2(
    p_item credit_hold_item_v2, p_at timestamptz DEFAULT NULL)
RETURNS credit_hold_answer
LANGUAGE plpgsql
SET enable_seqscan = off
SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
    shown text := coalesce(current_setting('app.accounts', true), '');
    as_of timestamptz := credit_open(p_item.account_id, p_at);
    known record;
    answer credit_hold_answer;
    parts credit_part[];
BEGIN
    SELECT h.id, h.request_hash, h.expires_at, h.status, h.captured, h.created_at, h.resolved_at
    INTO known
    FROM credit_holds AS h WHERE h.key = p_item.key AND h.account_id = p_item.account_id;
    answer.hold_id := coalesce(known.id, uuidv7());
    answer.amount := p_item.amount;
    answer.expires_at := coalesce(known.expires_at, p_item.expires_at, as_of + p_item.lifetime);
    answer.status := coalesce(known.status, 'open');
    answer.captured := coalesce(known.captured, 0);
    answer.created_at := coalesce(known.created_at, as_of);
    answer.resolved_at := known.resolved_at;
    answer.top_up := false;
    answer.verdict := credit_verdict(
        as_of, known.id IS NOT NULL, known.request_hash = p_item.hash);
    IF answer.verdict = 'ok' AND answer.expires_at <= as_of THEN
        answer.verdict := 'ends_in_the_past';
    ELSIF answer.verdict = 'ok' THEN
        parts := credit_pick_lots(
            p_item.account_id, p_item.amount, p_item.scope, p_item.paid_only);
        IF credit_sum(parts) < p_item.amount THEN
            answer.verdict := 'insufficient';
            answer.available := credit_sum(parts);
        ELSE
            PERFORM credit_hold_write_v2(p_item, answer, parts);
        END IF;
        answer.top_up := (
            SELECT credit_wants_top_up(b, as_of) FROM credit_balances AS b
            WHERE b.account_id = p_item.account_id);
        IF answer.top_up THEN
            PERFORM credit_request_top_up(p_item.account_id, as_of);
        END IF;
    END IF;
    PERFORM set_config('app.accounts', shown, true);
    RETURN answer;
END;
$$;
