-- Take credits of one grant back, once per key. Taken now is what its lot has neither spent nor
-- held; a held part is claimed and taken when released; the rest is lost. In all, no more is asked
-- of a lot than was granted.
-- Verdicts: ok; duplicate (the first answer); conflict (the key is something else, or asked for
-- another amount); no_grant; no_account.
CREATE OR REPLACE FUNCTION credit_clawback(
    p_account_id uuid, p_grant_key text, p_amount numeric, p_key text, p_reason text,
    p_at timestamptz DEFAULT NULL, p_subject text DEFAULT NULL,
    OUT verdict text, OUT transaction_id uuid, OUT taken numeric, OUT pending numeric,
    OUT loss numeric)
LANGUAGE plpgsql
SET enable_seqscan = off
SET plan_cache_mode = force_generic_plan
AS $$
#variable_conflict use_column
DECLARE
    shown text := coalesce(current_setting('app.accounts', true), '');
    as_of timestamptz := credit_enter(p_account_id, p_at);
    lot credit_lots;
    entry credit_transactions;
    hash text := p_grant_key || ' ' || trim_scale(p_amount)::text;
    asked numeric;
BEGIN
    SELECT * INTO lot FROM credit_lots
    WHERE grant_key = p_grant_key AND account_id = p_account_id;
    SELECT * INTO entry FROM credit_transactions WHERE key = p_key AND account_id = p_account_id;
    verdict := CASE
        WHEN as_of IS NULL THEN 'no_account'
        WHEN entry.request_hash = hash THEN 'duplicate'
        WHEN entry.id IS NOT NULL THEN 'conflict'
        WHEN lot.id IS NULL THEN 'no_grant'
        ELSE 'ok'
    END;
    IF verdict = 'duplicate' THEN
        transaction_id := entry.id;
        taken := -entry.amount;
        pending := (entry.detail ->> 'pending')::numeric;
        loss := (entry.detail ->> 'loss')::numeric;
    ELSIF verdict = 'ok' THEN
        asked := least(p_amount, lot.amount - lot.clawed - lot.claimed - lot.lost);
        taken := least(asked, lot.remaining - lot.held);
        pending := least(asked - taken, lot.held - lot.claimed);
        loss := asked - taken - pending;
        transaction_id := credit_book(
            p_account_id, 'clawback', p_key, hash, p_reason, p_subject,
            jsonb_build_object(
                'asked', public_decimal(p_amount), 'pending', public_decimal(pending),
                'loss', public_decimal(loss)),
            as_of,
            CASE WHEN taken > 0 THEN ARRAY[lot.id] ELSE '{}' END,
            CASE WHEN taken > 0 THEN ARRAY[-taken] ELSE '{}' END);
        UPDATE credit_lots
        SET clawed = clawed + taken, claimed = claimed + pending, lost = lost + loss
        WHERE id = lot.id;
    END IF;
    PERFORM set_config('app.accounts', shown, true);
END;
$$;
