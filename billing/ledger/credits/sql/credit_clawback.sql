-- Take credits of one grant back, once per key. Taken now is what its lot has neither spent nor
-- held; a held part is claimed and taken when released; the rest is lost. In all, no more is asked
-- of a lot than was granted. What had rolled over before has the room that this leaves of the cap.
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
DECLARE
    shown text := coalesce(current_setting('app.accounts', true), '');
    as_of timestamptz := credit_open(p_account_id, p_at);
    lot record;
    known record;
    hash text := p_grant_key || ' ' || trim_scale(p_amount)::text;
    asked numeric;
BEGIN
    SELECT l.id, l.remaining, l.held, l.claimed, l.kept_from, l.expires_at, t.subject,
        credit_left_of(l) AS rest INTO lot
    FROM credit_lots AS l JOIN credit_transactions AS t ON t.key = l.grant_key
    WHERE l.grant_key = p_grant_key AND l.account_id = p_account_id
        AND t.account_id = p_account_id;
    SELECT t.id, t.request_hash, t.amount, t.detail INTO known
    FROM credit_transactions AS t WHERE t.key = p_key AND t.account_id = p_account_id;
    verdict := credit_verdict(as_of, known.id IS NOT NULL, known.request_hash = hash);
    IF verdict = 'ok' AND lot.id IS NULL THEN
        verdict := 'no_grant';
    ELSIF verdict = 'duplicate' THEN
        transaction_id := known.id;
        taken := -known.amount;
        pending := (known.detail ->> 'pending')::numeric;
        loss := (known.detail ->> 'loss')::numeric;
    ELSIF verdict = 'ok' THEN
        asked := least(p_amount, lot.rest);
        taken := least(asked, lot.remaining - lot.held);
        pending := least(asked - taken, lot.held - lot.claimed);
        loss := asked - taken - pending;
        transaction_id := credit_post(
            ROW(p_account_id, 'clawback', p_key, hash, p_reason, p_subject,
                jsonb_build_object(
                    'asked', public_decimal(p_amount), 'pending', public_decimal(pending),
                    'loss', public_decimal(loss)),
                as_of),
            CASE WHEN taken > 0 THEN ARRAY[ROW(lot.id, -taken)::credit_part] ELSE '{}' END);
        UPDATE credit_lots AS l
        SET clawed = l.clawed + taken, claimed = l.claimed + pending, lost = l.lost + loss
        WHERE l.id = lot.id;
        UPDATE credit_lots AS l
        SET kept_from = lot.kept_from, expires_at = lot.expires_at, noticed_at = NULL
        FROM credit_transactions AS t
        WHERE l.account_id = p_account_id AND l.is_open AND l.expires_at > l.kept_from
            AND l.expires_at <= lot.kept_from AND t.key = l.grant_key
            AND t.account_id = p_account_id AND t.subject = lot.subject
            AND credit_has_room(l, lot.kept_from);
    END IF;
    PERFORM set_config('app.accounts', shown, true);
END;
$$;
