-- Record one use that a hold pays: rated and counted like any other, what it costs captured from
-- the hold and the rest of the hold released, in one transaction. A use that costs nothing releases
-- the hold; one that is refused leaves it open.
-- Verdicts: those of usage_record_batch; HOLD_NOT_FOUND; HOLD_RESOLVED, with the hold's end as
-- `status`; HOLD_EXCEEDED, with what was held as `available`. Expects the account's lock.
CREATE OR REPLACE FUNCTION usage_held(
    p_account_id uuid, p_hold_id uuid, p_product text, p_service text, p_feature text,
    p_operation text, p_model text, p_id uuid, p_hash bigint, p_event text, p_amount numeric,
    p_at timestamptz, p_user text, p_organization text, p_session text, p_request text,
    p_detail jsonb,
    OUT verdict text, OUT id uuid, OUT meter text, OUT unit_price numeric, OUT total numeric,
    OUT currency text, OUT method text, OUT status text, OUT is_free boolean,
    OUT is_included boolean, OUT required numeric, OUT available numeric)
LANGUAGE plpgsql
SET enable_seqscan = off
AS $$
#variable_conflict use_column
DECLARE
    kept record;
    mine record;
    rated record;
    hold credit_holds;
    done billing_records;
    quoted boolean;
    now_at timestamptz;
BEGIN
    PERFORM set_config('app.accounts', p_account_id::text, true);
    id := p_id;
    SELECT * INTO done FROM billing_records AS b WHERE b.id = p_id;
    IF FOUND THEN
        verdict := CASE WHEN done.request_hash = p_hash THEN 'duplicate' ELSE 'conflict' END;
    ELSE
        kept := usage_lock(ARRAY[p_account_id]);
        mine := usage_accounts(
            ARRAY[p_account_id], kept.periods, kept.budgets, kept.clocks, clock_timestamp());
        now_at := mine.as_of[1];
        IF cardinality(mine.due) > 0 THEN
            PERFORM usage_turn(p_account_id, now_at);
            kept := usage_lock(ARRAY[p_account_id]);
            mine := usage_accounts(
                ARRAY[p_account_id], kept.periods, kept.budgets, kept.clocks, now_at);
        END IF;
        IF p_at < mine.starts[1] THEN
            PERFORM usage_recall(p_account_id, p_at);
        END IF;
        PERFORM credit_enter(p_account_id, now_at);
        SELECT * INTO hold FROM credit_holds AS h
        WHERE h.id = p_hold_id AND h.account_id = p_account_id;
        IF hold.id IS NULL OR hold.status <> 'open' THEN
            verdict := CASE WHEN hold.id IS NULL THEN 'HOLD_NOT_FOUND' ELSE 'HOLD_RESOLVED' END;
            status := hold.status;
            RETURN;
        END IF;
        rated := usage_rate(
            ARRAY[p_account_id], ARRAY[now_at], mine.starts, mine.zones, mine.limits, mine.money,
            ARRAY[p_product], ARRAY[p_service], ARRAY[p_feature], ARRAY[p_operation],
            ARRAY[p_model],
            ARRAY[CASE WHEN hold.paid_only THEN 'wallet_deduction' ELSE 'credit_consumption' END],
            ARRAY[p_account_id], '{}', ARRAY[1], ARRAY[1], ARRAY[p_id], ARRAY[p_hash],
            ARRAY[p_event], ARRAY[p_amount], ARRAY[p_at], ARRAY[p_user], ARRAY[p_organization],
            ARRAY[p_session], ARRAY[p_request], ARRAY[p_detail]);
        done := rated.records[1];
        quoted := EXISTS (SELECT 1 FROM billing_quotas AS q WHERE q.account_id = p_account_id);
        IF quoted THEN
            PERFORM quota_settle(p_account_id, mine.zones[1], mine.starts[1], now_at);
        END IF;
        verdict := coalesce(done.failure, CASE
            WHEN quoted AND NOT done.is_late
                AND usage_over_quota(rated.records, p_account_id, now_at) THEN 'QUOTA_EXCEEDED'
            WHEN cardinality(mine.bound) > 0 AND NOT done.is_late AND budget_exceeded(
                rated.records, p_account_id, mine.zones[1], mine.starts[1], now_at)
                THEN 'BUDGET_EXCEEDED'
            WHEN done.total_amount > hold.amount THEN 'HOLD_EXCEEDED'
            ELSE 'recorded' END);
        IF verdict = 'HOLD_EXCEEDED' THEN
            available := hold.amount;
        ELSIF verdict = 'recorded' THEN
            IF done.total_amount > 0 THEN
                done.transaction_id := (credit_capture(
                    p_account_id, p_hold_id, done.total_amount,
                    coalesce('usage: ' || p_product, 'usage'), now_at,
                    jsonb_build_object(
                        'billing_id', public_id('bill', p_id), 'product_id', p_product,
                        'usage_amount', public_decimal(p_amount)))).transaction_id;
                done.billing_status := 'completed';
            ELSE
                PERFORM credit_release(p_account_id, p_hold_id, now_at);
            END IF;
            PERFORM set_config('app.accounts', p_account_id::text, true);
            PERFORM usage_take(
                ARRAY[done], ARRAY[1], ARRAY[1], ARRAY[false],
                CASE WHEN quoted THEN ARRAY[p_account_id] ELSE '{}'::uuid[] END, rated.limited,
                rated.tiered);
            IF cardinality(mine.budgeted) > 0 THEN
                PERFORM budget_tell(p_account_id, mine.zones[1], mine.starts[1], now_at);
            END IF;
        END IF;
    END IF;
    meter := done.meter;
    unit_price := done.unit_price;
    total := done.total_amount;
    currency := done.currency;
    method := done.billing_method;
    status := done.billing_status;
    is_free := done.is_free_tier;
    is_included := done.charged_amount = 0;
    required := done.total_amount;
END;
$$;

-- Many uses that holds pay, of any accounts, in one transaction, each with its own verdict. The
-- arrays are those of usage_record_batch; `r_hold` names each row's hold.
CREATE OR REPLACE FUNCTION usage_held_batch(
    p_accounts uuid[], p_products text[], p_services text[], p_features text[],
    p_operations text[], p_models text[],
    r_account integer[], r_kind integer[], r_hold uuid[], r_id uuid[], r_hash bigint[],
    r_event text[], r_amount numeric[], r_at timestamptz[], r_user text[],
    r_organization text[], r_session text[], r_request text[], r_detail jsonb[])
RETURNS TABLE (
    place integer, verdict text, id uuid, meter text, unit_price numeric, total numeric,
    currency text, method text, status text, is_free boolean, is_included boolean,
    required numeric, available numeric)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    shown text := coalesce(current_setting('app.accounts', true), '');
    k integer;
BEGIN
    PERFORM credit_lock_all(p_accounts);
    FOR i IN 1 .. cardinality(r_id) LOOP
        k := r_kind[i];
        RETURN QUERY
        SELECT i, u.*
        FROM usage_held(
            p_accounts[r_account[i]], r_hold[i], p_products[k], p_services[k], p_features[k],
            p_operations[k], p_models[k], r_id[i], r_hash[i], r_event[i], r_amount[i], r_at[i],
            r_user[i], r_organization[i], r_session[i], r_request[i], r_detail[i]) AS u;
    END LOOP;
    PERFORM set_config('app.accounts', shown, true);
END;
$$;
