-- Credits of a subscription that may outlive their cycle follow it. p_before is the cycle's end as
-- they know it: those of the cycle that runs live on from p_end until p_until, which is p_end where
-- nothing follows, or null where nothing can follow any more; so do those that are spent or that a
-- dispute took, for they may return. Where a cycle begins at p_start (p_begins), those of the one
-- before roll over into it, up to the highest cap of the plans that brought them, each told once:
-- its own first, then those of a higher cap, which so holds until they are spent, then newer ones.
-- What is beyond expires. All may live on once more, until credits arrive that fill the cap
-- (credit_grant_kept). Verdicts: ok; no_account.
CREATE OR REPLACE FUNCTION credit_roll_over(
    p_account_id uuid, p_subject text, p_before timestamptz, p_start timestamptz,
    p_end timestamptz, p_until timestamptz, p_begins boolean, p_at timestamptz, OUT verdict text)
LANGUAGE plpgsql
SET enable_seqscan = off
SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
    shown text := coalesce(current_setting('app.accounts', true), '');
    as_of timestamptz := credit_open(p_account_id, p_at);
    until timestamptz := coalesce(p_until, p_end);
    known record;
    cap numeric;
    gone numeric;
    lot record;
BEGIN
    verdict := credit_verdict(as_of, false, false);
    SELECT array_agg(l.id) AS lots, max((t.detail ->> 'rollover_cap')::numeric) AS cap INTO known
    FROM credit_lots AS l JOIN credit_transactions AS t ON t.key = l.grant_key
    WHERE l.account_id = p_account_id AND l.kind = 'plan' AND t.account_id = p_account_id
        AND t.subject = p_subject AND l.expires_at >= least(p_before, p_start)
        AND CASE WHEN NOT p_begins THEN l.kept_from = p_before
            ELSE l.is_open AND l.kept_from BETWEEN p_start AND p_before
                AND l.expires_at > l.kept_from END;
    cap := known.cap;
    IF verdict = 'ok' AND p_begins THEN
        FOR lot IN
            SELECT l.id, l.remaining, l.remaining - l.held AS free
            FROM credit_lots AS l JOIN credit_transactions AS t ON t.key = l.grant_key
            WHERE l.id = ANY (known.lots) AND t.account_id = p_account_id
            ORDER BY l.cycle_end IS NOT DISTINCT FROM p_before DESC,
                (t.detail ->> 'rollover_cap')::numeric DESC, l.granted_seq DESC
        LOOP
            gone := least(lot.free, greatest(lot.remaining - cap, 0));
            IF gone > 0 THEN
                PERFORM credit_expire_part(
                    p_account_id, lot.id, gone, public_id('lot', lot.id) || '/beyond-'
                        || to_char(p_start AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'),
                    as_of, 'expired');
            END IF;
            UPDATE credit_lots AS l
            SET kept_from = p_end, expires_at = until,
                noticed_at = CASE WHEN l.expires_at >= until THEN l.noticed_at END
            WHERE l.id = lot.id;
            cap := greatest(cap - lot.remaining, 0);
            PERFORM credit_publish(
                p_account_id, 'credits.rolled_over', jsonb_build_object(
                    'lot_id', public_id('lot', lot.id), 'expires_at', p_end,
                    'credits', public_decimal(lot.free - gone)), as_of)
            WHERE lot.free > gone;
        END LOOP;
        -- What had rolled over into a cycle that this one cuts keeps its end, and follows none.
        UPDATE credit_lots AS l SET kept_from = NULL
        FROM credit_transactions AS t
        WHERE l.account_id = p_account_id AND l.is_open AND p_start > l.kept_from
            AND p_start < l.expires_at AND t.key = l.grant_key AND t.subject = p_subject;
    ELSIF verdict = 'ok' THEN
        -- Whoever was told of an end that comes later now is told again.
        UPDATE credit_lots AS l
        SET kept_from = CASE WHEN p_until IS NOT NULL THEN p_end END, expires_at = until,
            cycle_end = CASE WHEN l.cycle_end = p_before THEN p_end ELSE l.cycle_end END,
            noticed_at = CASE WHEN l.expires_at >= until THEN l.noticed_at END
        WHERE l.id = ANY (known.lots);
    END IF;
    IF verdict = 'ok' THEN
        PERFORM credit_settle(p_account_id, as_of);
    END IF;
    PERFORM set_config('app.accounts', shown, true);
END;
$$;
