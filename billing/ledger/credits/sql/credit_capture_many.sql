-- Many captures of any accounts in one transaction, each with its own verdict; a null amount
-- spends all of a hold. Accounts are locked in the order of their ids. Budgets count what was
-- captured, and refuse none of it: the work behind it is done.
CREATE OR REPLACE FUNCTION credit_capture_many(
    p_items credit_capture_item[], p_at timestamptz DEFAULT NULL)
RETURNS SETOF credit_capture_answer
LANGUAGE plpgsql AS $$
DECLARE
    place integer;
    answer credit_capture_answer;
    answers credit_capture_answer[] := '{}';
    accounts uuid[] := ARRAY(SELECT i.account_id FROM unnest(p_items) AS i);
BEGIN
    PERFORM credit_lock_all(accounts);
    answers := ARRAY(SELECT f FROM credit_capture_fast(p_items, accounts, p_at) AS f);
    IF cardinality(answers) > 0 THEN
        PERFORM usage_settle_freed(accounts);
        PERFORM budget_count_captures(p_items, answers, p_at);
        RETURN QUERY SELECT a.* FROM unnest(answers) AS a;
        RETURN;
    END IF;
    FOR place IN
        SELECT u.ordinality FROM unnest(accounts) WITH ORDINALITY AS u(account_id)
        ORDER BY u.account_id, u.ordinality
    LOOP
        answer := credit_capture_one(p_items[place], p_at);
        answer.place := place;
        answers := answers || answer;
    END LOOP;
    PERFORM budget_count_captures(p_items, answers, p_at);
    RETURN QUERY SELECT a.* FROM unnest(answers) AS a;
END;
$$;
