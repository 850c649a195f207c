-- Record uses of these accounts by the long way; the statements on them show their rows alone. With
-- `p_new` nobody has looked for their records yet. It is done here: a use that is refused is not
-- inserted, so that no unique violation would tell that it was recorded before.
CREATE OR REPLACE FUNCTION usage_record_unusual(
    p_accounts usage_account[], p_kinds usage_kind[], p_uses usage_input[], p_places integer[],
    p_all boolean, p_new boolean)
RETURNS SETOF usage_answer
LANGUAGE plpgsql AS $$
DECLARE
    accounts usage_account[] := ARRAY(
        SELECT a FROM unnest(p_accounts) AS a
        WHERE a.place IN (SELECT unnest(p_places)) ORDER BY a.place);
    repeats usage_repeat[];
BEGIN
    PERFORM set_config('app.accounts', array_to_string(ARRAY(
        SELECT a.account_id FROM unnest(accounts) AS a), ','), true);
    IF p_new THEN
        repeats := usage_own_records(
            ARRAY(SELECT u.id FROM unnest(p_uses) AS u WHERE u.event_id IS NOT NULL));
        IF cardinality(repeats) > 0 THEN
            RETURN QUERY SELECT a.* FROM usage_repeat_answers(p_uses, repeats) AS a;
            p_uses := ARRAY(SELECT u FROM unnest(p_uses) AS u
                WHERE u.id NOT IN (SELECT r.asked FROM unnest(repeats) AS r) ORDER BY u.place);
        END IF;
    END IF;
    RETURN QUERY SELECT a.* FROM usage_record_rated(accounts, p_kinds, p_uses, p_all) AS a;
END;
$$;
