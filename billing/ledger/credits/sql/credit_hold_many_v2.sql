-- Many holds of any accounts in one transaction, each with its own verdict. Accounts are locked in
-- the order of their ids; of one account's items the first listed goes first.
CREATE OR REPLACE FUNCTION credit_hold_many_v2(
    p_items credit_hold_item_v2[], p_at timestamptz DEFAULT NULL)
RETURNS SETOF credit_hold_answer
LANGUAGE plpgsql AS $$
DECLARE
    place integer;
    answer credit_hold_answer;
    accounts uuid[] := ARRAY(SELECT i.account_id FROM unnest(p_items) AS i);
BEGIN
    PERFORM credit_lock_all(accounts);
    RETURN QUERY SELECT f.* FROM credit_hold_fast_v2(p_items, accounts, p_at) AS f;
    IF FOUND THEN
        RETURN;
    END IF;
    FOR place IN
        SELECT u.ordinality FROM unnest(accounts) WITH ORDINALITY AS u(account_id)
        ORDER BY u.account_id, u.ordinality
    LOOP
        answer := credit_hold_one_v2(p_items[place], p_at);
        answer.place := place;
        RETURN NEXT answer;
    END LOOP;
END;
$$;
