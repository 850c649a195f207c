-- Record uses of any accounts in one transaction, each with its own verdict: one that is refused
-- leaves the others alone, and what it would have used counts for none of them. Accounts are locked
-- in the order of their ids, in which they are listed; of one account's uses the first listed goes
-- first. The uses of an account lie together, and no id is listed twice.
-- `p_all` false answers only uses that were not recorded. With `p_new` nobody expects any of the
-- records to be there: where one is, a unique violation says so, and the caller asks again without.
-- The planner is told for all that is called from here: plans are kept, and tables are probed.
CREATE OR REPLACE FUNCTION usage_record(
    p_accounts uuid[], p_kinds usage_kind[], p_uses usage_input[], p_all boolean, p_new boolean)
RETURNS SETOF usage_answer
LANGUAGE plpgsql
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
    shown text := coalesce(current_setting('app.accounts', true), '');
    opened record;
    known uuid[] := '{}';
    kinds usage_fast_kind[];
BEGIN
    PERFORM set_config('app.accounts', array_to_string(p_accounts, ','), true);
    opened := usage_open_accounts(p_accounts, p_uses);
    IF NOT p_new THEN
        known := usage_existing_ids(p_uses);
    END IF;
    IF cardinality(known) = 0 AND opened.is_current AND usage_may_be_fast(opened.accounts) THEN
        kinds := usage_fast_kinds(opened.accounts, p_kinds);
    END IF;
    IF kinds IS NOT NULL AND usage_record_fast(opened.accounts, kinds, p_uses) THEN
        IF p_all THEN
            RETURN QUERY SELECT a.* FROM usage_answers_fast(kinds, p_uses) AS a;
        END IF;
    ELSE
        IF p_new THEN
            known := usage_existing_ids(p_uses);
        END IF;
        IF cardinality(known) > 0 THEN
            RETURN QUERY SELECT a.* FROM usage_recorded_answers(p_uses, known) AS a;
        END IF;
        RETURN QUERY SELECT a.* FROM usage_record_rated(
            opened.accounts, p_kinds,
            ARRAY(SELECT u FROM unnest(p_uses) AS u WHERE u.id <> ALL (known) ORDER BY u.place),
            p_all) AS a;
    END IF;
    PERFORM set_config('app.accounts', shown, true);
END;
$$;
