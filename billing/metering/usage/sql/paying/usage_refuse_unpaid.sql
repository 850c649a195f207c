-- Refuse what would take an account beyond what it may leave unpaid (usage_unpaid): use beyond the
-- plan in a trial, before any money came (`capped`), while an invoice is overdue or since one was
-- given up, late use beyond the plan of a subscription that owes, and another try of a card. What
-- is put off is refused where that is decided (usage_pay_records). The first use after the money
-- came, unless a card pays it at once, finds that nothing is capped any more, and lets the open
-- period say so: those after it are not looked at.
CREATE OR REPLACE FUNCTION usage_refuse_unpaid(
    p_accounts usage_account[], INOUT p_records usage_rated[])
LANGUAGE plpgsql
SET enable_hashjoin = on
AS $$
DECLARE
    shown text := current_setting('app.accounts', true);
    overdue uuid[] := ARRAY(
        SELECT account_id FROM usage_overdue(ARRAY(SELECT account_id FROM unnest(p_accounts))));
    one record;
    known record;
    i integer;
BEGIN
    FOR one IN
        SELECT r.account_id, r.billing_method AS method,
            -- With those before them: together they may be too much, and then come one by one.
            sum(sum(r.total_amount)) OVER (
                PARTITION BY r.account_id ORDER BY min(r.ordinality)) AS amount,
            array_agg(r.ordinality::integer) AS members,
            CASE WHEN r.is_late THEN r.period_start ELSE 'infinity' END AS at,
            max(a.as_of) FILTER (WHERE NOT r.is_late AND a.limits -> r.meter ? 'capped')
                AS capped_at
        FROM unnest(p_records) WITH ORDINALITY AS r
        JOIN unnest(p_accounts) AS a ON a.place = (r.use).account
        WHERE r.failure IS NULL AND r.currency <> 'CREDIT'
            AND (r.billing_method = 'payment_charge' OR r.is_late
                OR a.limits -> r.meter ? 'capped'
                -- Nothing is given any more, so it is of the time before, such as before `unpaid`.
                OR a.limits ? '*'
                -- Of a subscription that ended, or a debt that was given up: neither caps a period.
                OR r.account_id = ANY (overdue))
        GROUP BY r.account_id, r.billing_method, at
    LOOP
        PERFORM set_config('app.accounts', one.account_id::text, true);
        known := usage_unpaid(one.account_id, one.at, one.method = 'payment_charge');
        IF (known.owes OR one.method = 'payment_charge')
            AND (known.unpaid >= known.unpaid_limit OR one.method = 'subscription_included'
                AND known.unpaid + one.amount > known.unpaid_limit)
        THEN
            FOREACH i IN ARRAY one.members LOOP
                p_records[i].failure := 'UNPAID_LIMIT';
            END LOOP;
        ELSIF one.capped_at IS NOT NULL AND NOT known.owes AND one.method <> 'payment_charge' THEN
            PERFORM usage_open_period(one.account_id, one.capped_at);
        END IF;
        PERFORM set_config('app.accounts', shown, true);
    END LOOP;
END;
$$;
