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
BEGIN
    PERFORM set_config('app.accounts', (
        SELECT string_agg(DISTINCT account_id::text, ',') FROM unnest(p_items)), true);
    UPDATE credit_holds AS h SET capture_key = p_keys[a.place]
    FROM unnest(answers) AS a
    WHERE h.id = a.hold_id AND a.verdict = 'ok' AND p_keys[a.place] IS NOT NULL;
    FOR i IN 1 .. cardinality(answers) LOOP
        CONTINUE WHEN answers[i].verdict <> 'duplicate';
        IF EXISTS (
            SELECT FROM credit_holds
            WHERE id = answers[i].hold_id AND capture_key <> p_keys[answers[i].place])
        THEN
            answers[i].verdict := 'captured';
        END IF;
    END LOOP;
    PERFORM set_config('app.accounts', shown, true);
    RETURN QUERY SELECT a.* FROM unnest(answers) AS a;
END;
$$;
