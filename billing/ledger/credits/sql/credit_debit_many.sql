-- Many debits of any accounts in one transaction, each with its own verdict: a refused one leaves
-- the others alone. Accounts are locked in the order of their ids; of one account's items the
-- first listed goes first.
-- A forced item may go beyond its lots, up to the account's overdraft: what no lot covers is owed,
-- and the next grant pays it. `top_up` says that this item made the account want more credits.
-- Verdicts: ok; duplicate (same key and hash: the first answer, also within one batch); conflict
-- (same key, other hash); insufficient (with what is available to this item); no_account.
-- Everything is written by four statements at the end.
CREATE OR REPLACE FUNCTION credit_debit_many(
    p_items credit_debit_item[], p_at timestamptz DEFAULT NULL)
RETURNS SETOF credit_debit_answer
LANGUAGE plpgsql
SET enable_seqscan = off
SET plan_cache_mode = force_generic_plan
SET enable_hashjoin = off
SET enable_mergejoin = off
AS $$
DECLARE
    shown text := coalesce(current_setting('app.accounts', true), '');
    accounts uuid[] := ARRAY(SELECT DISTINCT i.account_id FROM unnest(p_items) AS i);
    mine record;
    decided credit_debits;
    entries credit_debit_entry[] := '{}';
    wanting uuid[] := '{}';
    wanting_at timestamptz[] := '{}';
BEGIN
    PERFORM credit_lock_all(accounts);
    FOR mine IN
        SELECT i.account_id, array_agg(i.ordinality::integer ORDER BY i.ordinality) AS places
        FROM unnest(p_items) WITH ORDINALITY AS i
        GROUP BY i.account_id
        ORDER BY i.account_id
    LOOP
        decided := credit_debit_account(
            mine.account_id, ARRAY(SELECT p_items[u.place] FROM unnest(mine.places) AS u(place)),
            mine.places, p_at);
        RETURN QUERY SELECT a.* FROM unnest(decided.answers) AS a;
        entries := entries || decided.entries;
        IF decided.wants_at IS NOT NULL THEN
            wanting := wanting || mine.account_id;
            wanting_at := wanting_at || decided.wants_at;
        END IF;
    END LOOP;
    PERFORM set_config('app.accounts', array_to_string(accounts, ','), true);
    PERFORM credit_debit_write(entries);
    PERFORM credit_request_top_up(u.account_id, u.at)
    FROM unnest(wanting, wanting_at) AS u(account_id, at);
    PERFORM set_config('app.accounts', shown, true);
END;
$$;
