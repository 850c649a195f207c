-- Record uses of any accounts in one transaction, each with its own verdict: one that is refused
-- leaves the others alone, and what it would have used counts for none of them. Accounts are
-- locked in the order of their ids; of one account's rows the first listed goes first. The rows of
-- an account lie together, and no id is listed twice.
-- Verdicts: recorded; duplicate (same id and hash: the first answer); conflict (same id, other
-- hash); or the code of the refusal. `p_all` false answers only rows that were not recorded.
-- With `p_new` nobody expects any of the records to be there: where one is, a unique violation says
-- so, and the caller asks again without.
--
-- All rows are rated as if they were taken (usage_rate). Where an account's rows then ask for more
-- than its plan, quotas, budgets or credits allow, they are taken in halves, down to single rows: the
-- outcome is that of one after the other. Rows of one group and method are paid together, by one
-- entry of the ledger.
CREATE OR REPLACE FUNCTION usage_record_batch(
    p_accounts uuid[], p_products text[], p_services text[], p_features text[],
    p_operations text[], p_models text[], p_methods text[], p_defers boolean[],
    r_account integer[], r_kind integer[], r_group integer[], r_id uuid[], r_hash bigint[],
    r_event text[], r_amount numeric[], r_at timestamptz[], r_user text[],
    r_organization text[], r_session text[], r_request text[], r_detail jsonb[], p_all boolean,
    p_new boolean)
RETURNS TABLE (
    place integer, verdict text, id uuid, meter text, unit_price numeric, total numeric,
    currency text, method text, status text, is_free boolean, is_included boolean,
    required numeric, available numeric)
LANGUAGE plpgsql
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
SET plan_cache_mode = force_generic_plan
AS $$
#variable_conflict use_column
DECLARE
    shown text := coalesce(current_setting('app.accounts', true), '');
    everyone text := array_to_string(p_accounts, ',');
    real_at timestamptz;
    mine record;
    one record;
    account integer;
    as_of timestamptz[];
    starts timestamptz[];
    zones text[];
    days timestamptz[];
    limits jsonb[];
    money text[];
    quoted uuid[];
    agreed uuid[];
    budgeted integer[];
    bound integer[];
    known uuid[] := '{}';
    rated record;
    plain record;
    dues record;
    funds record;
    entries uuid[];
    records billing_records[];
    rows_of integer[] := array_fill(0, ARRAY[cardinality(p_accounts)]);
    first_of integer[] := array_fill(1, ARRAY[cardinality(p_accounts)]);
    contested boolean[] := array_fill(false, ARRAY[cardinality(p_accounts)]);
    lacking numeric[] := array_fill(NULL::numeric, ARRAY[cardinality(r_id)]);
    lo integer;
    hi integer;
    i integer;
BEGIN
    PERFORM set_config('app.accounts', everyone, true);
    mine := usage_lock(p_accounts);
    real_at := clock_timestamp();

    one := usage_accounts(p_accounts, mine.periods, mine.budgets, mine.clocks, real_at);
    IF cardinality(one.due) > 0 THEN
        FOREACH account IN ARRAY one.due LOOP
            PERFORM set_config('app.accounts', p_accounts[account]::text, true);
            PERFORM usage_turn(p_accounts[account], one.as_of[account]);
        END LOOP;
        PERFORM set_config('app.accounts', everyone, true);
        mine := usage_lock(p_accounts);
        one := usage_accounts(p_accounts, mine.periods, mine.budgets, mine.clocks, real_at);
    END IF;
    as_of := one.as_of;
    starts := one.starts;
    zones := one.zones;
    limits := one.limits;
    money := one.money;
    budgeted := coalesce(one.budgeted, '{}');
    bound := coalesce(one.bound, '{}');
    IF r_at IS NOT NULL THEN
        FOR one IN
            SELECT DISTINCT u.account, u.at FROM unnest(r_account, r_at) AS u(account, at)
            WHERE u.at < starts[u.account]
        LOOP
            PERFORM usage_recall(p_accounts[one.account], one.at);
        END LOOP;
    END IF;
    agreed := ARRAY(
        SELECT DISTINCT account_id FROM price_overrides WHERE account_id = ANY (p_accounts));
    quoted := ARRAY(
        SELECT DISTINCT account_id FROM billing_quotas WHERE account_id = ANY (p_accounts));
    IF NOT p_new THEN
        known := usage_known(r_id);
    END IF;

    IF current_setting('app.publish_usage', true) IS DISTINCT FROM 'on'
        AND cardinality(agreed) = 0 AND cardinality(quoted) = 0 AND cardinality(known) = 0
        AND cardinality(bound) = 0 AND (r_at IS NULL OR NOT EXISTS (
            SELECT 1 FROM unnest(r_account, r_at) AS u(account, at)
            WHERE u.at < greatest(starts[u.account], as_of[u.account] - usage_late_limit())
                OR u.at > as_of[u.account]))
    THEN
        plain := usage_plain_kinds(
            limits, as_of, p_products, p_services, p_features, p_operations, p_models, p_methods);
        IF plain.plain THEN
            IF 0 < ANY (plain.prices) THEN
                dues := usage_plain_dues(
                    p_accounts, plain.methods, plain.prices, r_account, r_kind, r_group, r_id,
                    r_amount, p_products);
                funds := usage_plain_solvent(
                    p_accounts, as_of, dues.accounts, dues.amounts, dues.bought_only);
            ELSE
                SELECT NULL::uuid[] AS owners, NULL::integer[] AS accounts,
                    NULL::integer[] AS shares, NULL::text[] AS ways INTO dues;
                SELECT true AS solvent, true AS sure INTO funds;
            END IF;
            IF funds.solvent THEN
                IF dues.owners IS NOT NULL AND funds.sure THEN
                    FOREACH account IN ARRAY coalesce(funds.ended, '{}') LOOP
                        PERFORM set_config('app.accounts', p_accounts[account]::text, true);
                        PERFORM credit_settle(p_accounts[account], as_of[account]);
                    END LOOP;
                    PERFORM set_config('app.accounts', everyone, true);
                    one := credit_debit_sure(
                        dues.owners,
                        ARRAY(SELECT as_of[d] FROM unnest(dues.accounts) AS u(d)),
                        dues.amounts, dues.keys, dues.reasons, dues.bought_only[1]);
                    entries := one.entries;
                    IF NOT one.whole THEN
                        RAISE EXCEPTION USING ERRCODE = 'serialization_failure',
                            MESSAGE = 'credits ended while they were counted';
                    END IF;
                ELSIF dues.owners IS NOT NULL THEN
                    entries := ARRAY(
                        SELECT d.transaction_id FROM credit_debit_batch(
                            dues.owners, dues.amounts, dues.keys, dues.keys, dues.reasons,
                            array_fill(NULL::text, ARRAY[cardinality(dues.owners)]),
                            dues.bought_only,
                            array_fill(NULL::text, ARRAY[cardinality(dues.owners)]),
                            array_fill(NULL::jsonb, ARRAY[cardinality(dues.owners)])) AS d
                        ORDER BY d.place);
                    IF array_position(entries, NULL) IS NOT NULL THEN
                        RAISE EXCEPTION USING ERRCODE = 'serialization_failure',
                            MESSAGE = 'credits ended while they were counted';
                    END IF;
                END IF;
                PERFORM set_config('app.accounts', everyone, true);
                -- Most accounts share zone and time; arithmetic of zones is dear.
                days := CASE WHEN zones[1] = ALL (zones) AND as_of[1] = ALL (as_of)
                    THEN array_fill(
                        date_trunc('day', as_of[1] AT TIME ZONE zones[1]) AT TIME ZONE zones[1],
                        ARRAY[cardinality(p_accounts)])
                    ELSE usage_plain_days(zones, as_of) END;
                PERFORM usage_plain_write(
                    p_accounts, as_of, starts, zones, days, p_products, plain.services,
                    p_features, p_operations, p_models, plain.methods, plain.prices,
                    plain.meters, r_account, r_kind, r_group, r_id, r_hash, r_event, r_amount,
                    r_at, r_user, r_organization, r_session, r_request, r_detail,
                    dues.accounts, dues.shares, dues.ways, entries);
                PERFORM usage_plain_count(
                    p_accounts, as_of, starts, zones, days, plain.services, p_operations, p_models,
                    plain.methods, plain.prices, plain.meters, r_account, r_kind, r_amount, r_at,
                    r_user, r_organization);
                FOREACH account IN ARRAY budgeted LOOP
                    PERFORM set_config('app.accounts', p_accounts[account]::text, true);
                    PERFORM budget_tell(
                        p_accounts[account], zones[account], starts[account], as_of[account]);
                END LOOP;
                IF p_all THEN
                    RETURN QUERY
                    SELECT
                        r.place::integer, 'recorded', r.id, plain.meters[r.kind],
                        plain.prices[r.kind], round(r.amount * plain.prices[r.kind], 6), 'CREDIT',
                        plain.methods[r.kind], 'completed',
                        plain.prices[r.kind] = 0 AND p_products[r.kind] IS NOT NULL, false,
                        round(r.amount * plain.prices[r.kind], 6), NULL::numeric
                    FROM unnest(r_kind, r_id, r_amount) WITH ORDINALITY
                        AS r(kind, id, amount, place);
                END IF;
                PERFORM set_config('app.accounts', shown, true);
                RETURN;
            END IF;
        END IF;
    END IF;

    IF p_new THEN
        known := usage_known(r_id);
    END IF;
    rated := usage_rate(
        p_accounts, as_of, starts, zones, limits, money, p_products, p_services, p_features,
        p_operations, p_models, p_methods, agreed, known, r_account, r_kind, r_id, r_hash,
        r_event, r_amount, r_at, r_user, r_organization, r_session, r_request, r_detail);
    records := rated.records;

    -- Who asks for more than there is?
    FOR one IN
        SELECT r_account[rated.places[u.ordinality]] AS account, count(*)::integer AS rows,
            min(u.ordinality)::integer AS first,
            coalesce(bool_or(u.failure IN ('QUOTA_EXCEEDED', 'NOT_INCLUDED')), false) AS refused
        FROM unnest(records) WITH ORDINALITY AS u
        GROUP BY 1
    LOOP
        rows_of[one.account] := one.rows;
        first_of[one.account] := one.first;
        contested[one.account] := one.rows > 1 AND one.refused;
    END LOOP;
    FOREACH account IN ARRAY ARRAY(SELECT array_position(p_accounts, q) FROM unnest(quoted) AS q)
    LOOP
        PERFORM set_config('app.accounts', p_accounts[account]::text, true);
        PERFORM quota_settle(
            p_accounts[account], zones[account], starts[account], as_of[account]);
        lo := first_of[account];
        hi := lo + rows_of[account] - 1;
        IF usage_over_quota(records[lo:hi], p_accounts[account], as_of[account]) THEN
            contested[account] := rows_of[account] > 1;
            FOR i IN lo .. hi LOOP
                IF records[i].failure IS NULL AND NOT records[i].is_late THEN
                    records[i].failure := 'QUOTA_EXCEEDED';
                END IF;
            END LOOP;
        END IF;
    END LOOP;
    FOREACH account IN ARRAY bound LOOP
        PERFORM set_config('app.accounts', p_accounts[account]::text, true);
        lo := first_of[account];
        hi := lo + rows_of[account] - 1;
        IF budget_exceeded(
            records[lo:hi], p_accounts[account], zones[account], starts[account], as_of[account])
        THEN
            contested[account] := rows_of[account] > 1;
            FOR i IN lo .. hi LOOP
                IF records[i].failure IS NULL AND NOT records[i].is_late THEN
                    records[i].failure := 'BUDGET_EXCEEDED';
                END IF;
            END LOOP;
        END IF;
    END LOOP;
    PERFORM set_config('app.accounts', everyone, true);
    IF EXISTS (SELECT 1 FROM unnest(records) AS u WHERE u.billing_status = 'processing') THEN
        FOR one IN SELECT * FROM usage_short(records, as_of, p_accounts) LOOP
            contested[one.account] := contested[one.account] OR rows_of[one.account] > 1;
        END LOOP;
        FOR one IN
            SELECT * FROM usage_pay(records, rated.places, r_account, r_group, contested)
        LOOP
            FOREACH i IN ARRAY one.members LOOP
                records[i].transaction_id := one.transaction_id;
                IF one.transaction_id IS NOT NULL THEN
                    records[i].billing_status := 'completed';
                ELSIF p_defers[r_kind[rated.places[i]]] THEN
                    records[i].billing_status := 'pending';
                ELSE
                    records[i].failure := 'INSUFFICIENT_CREDITS';
                    lacking[i] := one.available;
                END IF;
            END LOOP;
        END LOOP;
    END IF;

    PERFORM usage_take(
        records, rated.places, r_account, contested, quoted, rated.limited, rated.tiered);
    FOREACH account IN ARRAY budgeted LOOP
        IF NOT contested[account] THEN
            PERFORM set_config('app.accounts', p_accounts[account]::text, true);
            PERFORM budget_tell(
                p_accounts[account], zones[account], starts[account], as_of[account]);
        END IF;
    END LOOP;
    PERFORM set_config('app.accounts', everyone, true);
    RETURN QUERY
    SELECT
        rated.places[u.ordinality], coalesce(u.failure, 'recorded'), u.id, u.meter, u.unit_price,
        u.total_amount, u.currency, u.billing_method, u.billing_status, u.is_free_tier,
        u.charged_amount = 0, u.total_amount, lacking[u.ordinality]
    FROM unnest(records) WITH ORDINALITY AS u
    WHERE (p_all OR u.failure IS NOT NULL)
        AND NOT contested[r_account[rated.places[u.ordinality]]];
    IF cardinality(known) > 0 THEN
        RETURN QUERY
        SELECT
            r.place::integer, CASE WHEN b.request_hash = r.hash THEN 'duplicate' ELSE 'conflict' END,
            b.id, b.meter, b.unit_price, b.total_amount, b.currency, b.billing_method,
            b.billing_status, b.is_free_tier, b.charged_amount = 0, b.total_amount, NULL::numeric
        FROM unnest(r_id, r_hash) WITH ORDINALITY AS r(id, hash, place)
        CROSS JOIN LATERAL (
            SELECT * FROM billing_records WHERE id = r.id AND r.id = ANY (known) LIMIT 1) AS b;
    END IF;

    FOREACH account IN ARRAY ARRAY(
        SELECT s FROM generate_subscripts(contested, 1) AS s WHERE contested[s])
    LOOP
        lo := array_position(r_account, account);
        hi := lo;
        WHILE hi < cardinality(r_account) AND r_account[hi + 1] = account LOOP
            hi := hi + 1;
        END LOOP;
        FOR one IN
            SELECT half.lo, half.hi
            FROM (VALUES (lo, (lo + hi) / 2), ((lo + hi) / 2 + 1, hi)) AS half(lo, hi)
        LOOP
            RETURN QUERY
            SELECT part.place + one.lo - 1, part.verdict, part.id, part.meter, part.unit_price,
                part.total, part.currency, part.method, part.status, part.is_free,
                part.is_included, part.required, part.available
            FROM usage_record_batch(
                p_accounts[account : account], p_products, p_services, p_features, p_operations,
                p_models, p_methods, p_defers, array_fill(1, ARRAY[one.hi - one.lo + 1]),
                r_kind[one.lo : one.hi], r_group[one.lo : one.hi], r_id[one.lo : one.hi],
                r_hash[one.lo : one.hi], r_event[one.lo : one.hi], r_amount[one.lo : one.hi],
                r_at[one.lo : one.hi], r_user[one.lo : one.hi], r_organization[one.lo : one.hi],
                r_session[one.lo : one.hi], r_request[one.lo : one.hi],
                r_detail[one.lo : one.hi], p_all, false) AS part
            WHERE NOT part.id = ANY (known);
        END LOOP;
    END LOOP;
    PERFORM set_config('app.accounts', shown, true);
END;
$$;
