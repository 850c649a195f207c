-- Pay records with credits: each is completed, deferred if its kind and the unpaid limit allow it,
-- or refused.
CREATE OR REPLACE FUNCTION usage_pay_records(
    INOUT p_records usage_rated[], p_contested integer[])
LANGUAGE plpgsql AS $$
DECLARE
    paid record;
    i integer;
BEGIN
    FOR paid IN SELECT d.members, d.transaction_id, d.available
        FROM usage_debit(p_records, p_contested) AS d
    LOOP
        FOREACH i IN ARRAY paid.members LOOP
            p_records[i].transaction_id := paid.transaction_id;
            IF paid.transaction_id IS NOT NULL THEN
                p_records[i].billing_status := 'completed';
            ELSIF ((p_records[i]).kind).defers AND usage_may_defer(
                (p_records[i]).account_id, (p_records[i]).total_amount)
            THEN
                p_records[i].billing_status := 'pending';
            ELSIF ((p_records[i]).kind).defers THEN
                p_records[i].failure := 'UNPAID_LIMIT';
            ELSE
                p_records[i].failure := 'INSUFFICIENT_CREDITS';
                p_records[i].available := paid.available;
            END IF;
        END LOOP;
    END LOOP;
END;
$$;
