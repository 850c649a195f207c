-- Record uses of any accounts in one transaction, each with its own verdict: one that is refused
-- leaves the others alone, and what it would have used counts for none of them. Accounts are locked
-- in the order of their ids, in which they are listed; of one account's uses the first listed goes
-- first. The uses of an account lie together, and no id is listed twice.
-- A use that was recorded before is answered by its record. Nobody writes one meanwhile: an id
-- belongs to one account, whose lock everybody takes first. Of the others those of ordinary
-- accounts take the fast path, those of unusual accounts the long way.
-- `p_all` false answers only uses that were not recorded. With `p_new` nobody looks for records of
-- this month but of unusual accounts: where one is there, a unique violation says so, and who calls
-- asks again without.
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
    owned record;
    own usage_own_price[] := '{}';
    repeats usage_repeat[];
    uses usage_input[];
    traits usage_traits;
    kinds usage_kind[] := p_kinds;
    simple usage_fast_kind[];
    told record;
    done record;
BEGIN
    PERFORM set_config('app.accounts', array_to_string(p_accounts, ','), true);
    opened := usage_open_accounts(p_accounts, p_uses);
    uses := usage_as_claimed(p_uses);
    repeats := usage_repeats(
        ARRAY(SELECT u.id FROM unnest(uses) AS u WHERE u.event_id IS NOT NULL));
    IF NOT p_new THEN
        repeats := usage_own_records(ARRAY(SELECT u.id FROM unnest(uses) AS u)) || repeats;
    END IF;
    IF cardinality(repeats) > 0 THEN
        RETURN QUERY SELECT a.* FROM usage_repeat_answers(uses, repeats) AS a;
        uses := ARRAY(SELECT u FROM unnest(uses) AS u
            WHERE u.id NOT IN (SELECT r.asked FROM unnest(repeats) AS r) ORDER BY u.place);
    END IF;
    traits := usage_traits_of(opened.accounts);
    IF traits.has_prices THEN
        owned := usage_own_kinds(opened.accounts, p_kinds, uses);
        kinds := owned.kinds;
        uses := owned.uses;
        own := owned.own;
    END IF;
    simple := usage_simple_kinds(kinds, own, traits.priced_at);
    told := usage_unusual_accounts(
        opened.accounts, kinds, simple, uses, opened.is_current, traits);
    done := usage_record_ordinary_fast(
        opened.accounts, simple, uses, traits, told.limited, told.unusual);
    IF p_all THEN
        RETURN QUERY SELECT a.* FROM usage_answers_fast(simple, done.charged) AS a
            UNION ALL SELECT a.* FROM usage_answers_included_fast(simple, done.included) AS a;
    END IF;
    IF cardinality(done.p_unusual) > 0 THEN
        RETURN QUERY SELECT a.* FROM usage_record_unusual(opened.accounts, kinds,
            usage_uses_of(uses, done.p_unusual, true), done.p_unusual, p_all, p_new) AS a;
    END IF;
    PERFORM set_config('app.accounts', shown, true);
END;
$$;
