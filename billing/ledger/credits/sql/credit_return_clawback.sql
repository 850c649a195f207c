-- Give back what one clawback took, once per key: a dispute was won. What it still waits for is not
-- waited for any more, what it counted as lost is not lost; the rest comes back to its lot, which
-- then lasts at least until p_until, though it had ended, and pays what is owed. One whose end that
-- moves follows no cycle any more.
-- The key is that of what comes back: if nothing does, the caller must see to it that this runs
-- once, as a decision of a matter does.
-- Verdicts: ok; duplicate (the first answer); no_grant (no such clawback); no_account.
CREATE OR REPLACE FUNCTION credit_return_clawback(
    p_account_id uuid, p_grant_key text, p_clawback_key text, p_key text, p_reason text,
    p_until timestamptz, p_at timestamptz, p_subject text,
    OUT verdict text, OUT transaction_id uuid, OUT returned numeric, OUT expires_at timestamptz)
LANGUAGE plpgsql
SET enable_seqscan = off
SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
    shown text := coalesce(current_setting('app.accounts', true), '');
    as_of timestamptz := credit_open(p_account_id, p_at);
    lot record;
    took record;
    known record;
    unclaimed numeric;
    unlost numeric;
BEGIN
    SELECT l.id, l.claimed, l.clawed, l.lost INTO lot
    FROM credit_lots AS l WHERE l.grant_key = p_grant_key AND l.account_id = p_account_id;
    SELECT t.id, -t.amount AS taken, (t.detail ->> 'pending')::numeric AS pending,
        (t.detail ->> 'loss')::numeric AS loss INTO took
    FROM credit_transactions AS t
    WHERE t.key = p_clawback_key AND t.account_id = p_account_id;
    SELECT t.id, t.amount INTO known
    FROM credit_transactions AS t WHERE t.key = p_key AND t.account_id = p_account_id;
    verdict := credit_verdict(as_of, known.id IS NOT NULL, true);
    returned := 0;
    IF verdict = 'ok' AND (lot.id IS NULL OR took.id IS NULL) THEN
        verdict := 'no_grant';
    ELSIF verdict = 'duplicate' THEN
        transaction_id := known.id;
        returned := known.amount;
    ELSIF verdict = 'ok' THEN
        unclaimed := least(lot.claimed, took.pending);
        unlost := least(lot.lost, took.loss + took.pending - unclaimed);
        returned := least(lot.clawed, took.taken + took.pending + took.loss - unclaimed - unlost);
        UPDATE credit_lots AS l
        SET claimed = l.claimed - unclaimed, lost = l.lost - unlost, clawed = l.clawed - returned
        WHERE l.id = lot.id;
        IF returned > 0 THEN
            -- Whoever was told of an end that comes later now is told again.
            UPDATE credit_lots AS l
            SET expires_at = greatest(l.expires_at, p_until),
                kept_from = CASE WHEN l.expires_at >= p_until THEN l.kept_from END,
                noticed_at = CASE WHEN l.expires_at >= p_until THEN l.noticed_at END
            WHERE l.id = lot.id AND l.expires_at IS NOT NULL
            RETURNING l.expires_at INTO expires_at;
            transaction_id := credit_post(
                ROW(p_account_id, 'grant', p_key, NULL, p_reason, p_subject, NULL, as_of),
                ARRAY[ROW(lot.id, returned)::credit_part]);
            UPDATE credit_balances AS b
            SET next_expiry = least(b.next_expiry, credit_return_clawback.expires_at)
            WHERE b.account_id = p_account_id;
            PERFORM credit_pay_debt(
                p_account_id, ROW(lot.id, returned)::credit_part, p_key, p_subject, as_of);
        END IF;
    END IF;
    PERFORM set_config('app.accounts', shown, true);
END;
$$;
