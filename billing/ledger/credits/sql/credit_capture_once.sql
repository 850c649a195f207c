-- Captures as credit_capture_many has them, each with its Idempotency-Key or null. A capture of a
-- hold that was captured with another key is no repeat, even if all else is the same: `captured`.
CREATE OR REPLACE FUNCTION credit_capture_once(
    p_items credit_capture_item[], p_keys text[], p_at timestamptz DEFAULT NULL)
RETURNS SETOF credit_capture_answer
LANGUAGE plpgsql
SET enable_seqscan = off
AS $$
DECLARE
    shown text := coalesce(current_setting('app.accounts', true), '');
    answers credit_capture_answer[] := ARRAY(
        SELECT a FROM credit_capture_many(p_items, p_at) AS a);
    i integer;
    other boolean;
BEGIN
    FOR i IN 1 .. cardinality(answers) LOOP
        CONTINUE WHEN p_keys[answers[i].place] IS NULL;
        PERFORM set_config('app.accounts', p_items[answers[i].place].account_id::text, true);
        IF answers[i].verdict = 'ok' THEN
            UPDATE credit_holds SET capture_key = p_keys[answers[i].place]
            WHERE id = answers[i].hold_id;
        ELSIF answers[i].verdict = 'duplicate' THEN
            SELECT capture_key <> p_keys[answers[i].place] INTO other
            FROM credit_holds WHERE id = answers[i].hold_id;
            answers[i].verdict := CASE WHEN other THEN 'captured' ELSE 'duplicate' END;
        END IF;
    END LOOP;
    PERFORM set_config('app.accounts', shown, true);
    RETURN QUERY SELECT a.* FROM unnest(answers) AS a;
END;
$$;
