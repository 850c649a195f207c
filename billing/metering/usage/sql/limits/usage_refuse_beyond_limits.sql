-- Refuse records of accounts that exceed what their hard quotas have left in the windows of their
-- own times, or, except for late ones, what their blocking budgets have left.
CREATE OR REPLACE FUNCTION usage_refuse_beyond_limits(
    p_accounts usage_account[], INOUT p_records usage_rated[])
LANGUAGE plpgsql
SET enable_hashjoin = on
AS $$
DECLARE
    shown text := current_setting('app.accounts', true);
    one record;
    code text;
BEGIN
    FOR one IN
        SELECT a AS account, r.first, r.last
        FROM unnest(p_accounts) AS a JOIN (
            SELECT (u.use).account, min(u.ordinality)::integer AS first,
                max(u.ordinality)::integer AS last
            FROM unnest(p_records) WITH ORDINALITY AS u
            GROUP BY 1) AS r ON r.account = a.place
        WHERE a.has_quotas OR a.budget_mode = 'block'
        ORDER BY a.place
    LOOP
        PERFORM set_config('app.accounts', (one.account).account_id::text, true);
        code := NULL;
        IF (one.account).has_quotas THEN
            PERFORM quota_open_windows(
                (one.account).account_id, (one.account).zone, (one.account).start_at,
                ARRAY(SELECT ROW((r.use).id, (r.use).user_id, (r.use).organization_id, r.meter,
                        NULL, NULL, NULL)::quota_timed_use
                    FROM unnest(p_records[one.first : one.last]) AS r WHERE r.failure IS NULL),
                (one.account).as_of);
            IF quota_is_exceeded(
                p_records[one.first : one.last], (one.account).account_id, (one.account).as_of)
            THEN
                code := 'QUOTA_EXCEEDED';
            END IF;
        END IF;
        IF code IS NULL AND (one.account).budget_mode = 'block'
            AND budget_is_exceeded(p_records[one.first : one.last], one.account)
        THEN
            code := 'BUDGET_EXCEEDED';
        END IF;
        IF code IS NOT NULL THEN
            FOR i IN one.first .. one.last LOOP
                IF p_records[i].failure IS NULL
                    AND NOT (p_records[i].is_late AND code = 'BUDGET_EXCEEDED')
                THEN
                    p_records[i].failure := code;
                END IF;
            END LOOP;
        END IF;
    END LOOP;
    PERFORM set_config('app.accounts', shown, true);
END;
$$;
