-- Rate uses as if all of them were taken, and take them; those that only a claim on a plan that has
-- ended allows are rated as of the claim. Where an account's uses ask for more than its plan,
-- quotas, budgets, credits or unpaid uses allow, or one of them has such a claim, and there is more
-- than one, nothing of that account is written: it is `contested`, and its uses are to come again
-- in smaller parts.
CREATE OR REPLACE FUNCTION usage_record_part(
    p_accounts usage_account[], p_kinds usage_kind[], p_uses usage_input[],
    OUT records usage_rated[], OUT contested integer[])
LANGUAGE plpgsql AS $$
DECLARE
    short integer[] := '{}';
    several integer[] := '{}';
    promised usage_input[];
BEGIN
    LOOP
        records := usage_rate_uses(p_accounts, p_kinds, coalesce(promised, p_uses));
        IF EXISTS (SELECT FROM unnest(p_accounts) WHERE has_quotas OR budget_mode = 'block') THEN
            records := usage_refuse_beyond_limits(p_accounts, records);
        END IF;
        EXIT WHEN promised IS NOT NULL OR NOT EXISTS (
            SELECT FROM unnest(records) WHERE failure IN ('QUOTA_EXCEEDED', 'NO_ENTITLEMENT'));
        SELECT p.dated, p.several INTO promised, several
        FROM usage_promised(p_accounts, records, p_uses) AS p;
        EXIT WHEN promised IS NULL;
    END LOOP;
    IF EXISTS (SELECT FROM unnest(records) WHERE currency <> 'CREDIT') THEN
        records := usage_refuse_unpaid(p_accounts, records);
    END IF;
    IF EXISTS (SELECT FROM unnest(records) WHERE billing_status = 'processing') THEN
        short := usage_insufficient(records);
    END IF;
    contested := ARRAY(
        SELECT (r.use).account FROM unnest(records) AS r
        GROUP BY 1
        HAVING count(*) > 1 AND (
            bool_or(r.failure IN (
                'QUOTA_EXCEEDED', 'BUDGET_EXCEEDED', 'NOT_INCLUDED', 'UNPAID_LIMIT'))
            -- Too dear, or beyond the plan, after those before it; one that is refused by itself
            -- counts for nothing.
            OR bool_or(r.failure IN ('USAGE_TOO_LARGE', 'PRODUCT_PRICING_NOT_FOUND')
                AND r.included_units + r.charged_units > 0)
            OR (r.use).account = ANY (several)
            OR (r.use).account = ANY (short)));
    IF EXISTS (SELECT FROM unnest(records) WHERE billing_status = 'processing') THEN
        records := usage_pay_records(records, contested);
    END IF;
    PERFORM usage_write_accepted(
        ARRAY(SELECT r FROM unnest(records) AS r
            WHERE r.failure IS NULL AND (r.use).account <> ALL (contested)),
        p_accounts);
    PERFORM usage_notify_budgets(p_accounts, contested);
END;
$$;
