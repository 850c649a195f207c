-- Credits arrive of which so many, or all, may outlive their cycle: these are a lot of their own,
-- which has the key, and live until p_until; the others come first, for debt is paid from what
-- arrives. Their cycle is from p_cycle_start to p_cycle_end, from which on what is left of them is
-- there by rollover. What had rolled over into it ends with these where others fill the cap.
-- Once per key.
-- Verdicts: ok; duplicate (nothing is changed); conflict (the key is something else); no_account.
CREATE OR REPLACE FUNCTION credit_grant_kept(
    p_item credit_grant_item, p_kept numeric, p_cycle_start timestamptz, p_cycle_end timestamptz,
    p_until timestamptz, p_at timestamptz, OUT verdict text)
LANGUAGE plpgsql
SET enable_seqscan = off
SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
    shown text := coalesce(current_setting('app.accounts', true), '');
    as_of timestamptz := credit_open(p_item.account_id, p_at);
    used text := (
        SELECT t.kind FROM credit_transactions AS t
        WHERE t.key = p_item.key AND t.account_id = p_item.account_id);
    part credit_grant_item := p_item;
BEGIN
    verdict := credit_verdict(as_of, used IS NOT NULL, used = 'grant');
    IF verdict = 'ok' THEN
        IF p_item.amount > p_kept THEN
            part.amount := p_item.amount - p_kept;
            part.key := p_item.key || '/not-kept';
            PERFORM credit_add_lot(part, as_of);
        END IF;
        part := p_item;
        part.amount := least(p_kept, p_item.amount);
        part.reason := p_item.reason || ', kept on';
        part.expires_at := p_until;
        PERFORM credit_add_lot(part, as_of);
        UPDATE credit_lots AS l SET kept_from = p_cycle_end, cycle_end = p_cycle_end
        WHERE l.grant_key = p_item.key AND l.account_id = p_item.account_id;
        UPDATE credit_lots AS l
        SET kept_from = p_cycle_start, expires_at = p_item.expires_at, noticed_at = NULL
        WHERE l.account_id = p_item.account_id AND l.is_open AND l.kept_from = p_cycle_end
            AND NOT credit_has_room(l, p_cycle_end);
        UPDATE credit_balances SET next_expiry = least(next_expiry, p_item.expires_at)
        WHERE account_id = p_item.account_id AND FOUND;
    END IF;
    PERFORM set_config('app.accounts', shown, true);
END;
$$;
