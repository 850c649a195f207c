-- Record uses by the full path, each with its own verdict. Contested ones are split in halves, down
-- to single uses, in order: the outcome is as if they came one after the other. What asks for the
-- same as a use that was refused has its answer, as long as nothing was written since.
CREATE OR REPLACE FUNCTION usage_record_rated(
    p_accounts usage_account[], p_kinds usage_kind[], p_uses usage_input[], p_all boolean)
RETURNS SETOF usage_answer
LANGUAGE plpgsql AS $$
DECLARE
    starts integer[] := '{1}';
    highs integer[] := ARRAY[cardinality(p_uses)];
    low integer;
    high integer;
    accounts usage_account[] := p_accounts;
    done record;
    part record;
    refused usage_rated;
BEGIN
    WHILE cardinality(starts) > 0 LOOP
        low := starts[cardinality(starts)];
        high := highs[cardinality(highs)];
        starts := trim_array(starts, 1);
        highs := trim_array(highs, 1);
        CONTINUE WHEN high < low;
        IF accounts IS NULL THEN
            accounts := ARRAY(
                SELECT a FROM unnest(p_accounts) AS a WHERE a.place = p_uses[low].account);
            PERFORM set_config('app.accounts', accounts[1].account_id::text, true);
        END IF;
        IF (refused.use).id IS NOT NULL THEN
            RETURN QUERY SELECT a.* FROM usage_refused_alike(refused, p_uses[low : high]) AS a;
            IF FOUND THEN
                accounts := NULL;
                CONTINUE;
            END IF;
        END IF;
        done := usage_record_part(accounts, p_kinds, p_uses[low : high]);
        accounts := NULL;
        IF EXISTS (SELECT FROM unnest(done.records) AS r
            WHERE r.failure IS NULL AND (r.use).account <> ALL (done.contested))
        THEN
            refused := NULL;
        ELSIF low = high THEN
            refused := done.records[1];
        END IF;
        RETURN QUERY
        SELECT a.* FROM unnest(done.records) AS r CROSS JOIN LATERAL usage_answer_of(r) AS a
        WHERE (p_all OR r.failure IS NOT NULL) AND (r.use).account <> ALL (done.contested);
        FOR part IN
            SELECT min(u.ordinality)::integer + low - 1 AS first,
                max(u.ordinality)::integer + low - 1 AS last
            FROM unnest(p_uses[low : high]) WITH ORDINALITY AS u
            WHERE u.account = ANY (done.contested)
            GROUP BY u.account
        LOOP
            starts := starts || ((part.first + part.last) / 2 + 1) || part.first;
            highs := highs || part.last || ((part.first + part.last) / 2);
        END LOOP;
    END LOOP;
END;
$$;
