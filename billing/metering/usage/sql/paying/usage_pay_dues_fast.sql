-- Pay each due with one ledger entry, in order; usage_funds_fast has checked that all can pay. One
-- statement pays all, except accounts whose dues are paid one by one (`p_apart`) and dues that only
-- bought credits may pay.
CREATE OR REPLACE FUNCTION usage_pay_dues_fast(
    p_dues usage_due[], p_apart integer[], p_expired integer[])
RETURNS uuid[]
LANGUAGE plpgsql AS $$
DECLARE
    shown text := current_setting('app.accounts', true);
    entries uuid[] := array_fill(NULL::uuid, ARRAY[cardinality(p_dues)]);
    paid uuid[];
    one record;
    part record;
BEGIN
    FOR one IN SELECT d.account_id, max(d.as_of) AS as_of FROM unnest(p_dues) AS d
        WHERE d.account = ANY (p_expired) AND d.account <> ALL (p_apart) GROUP BY d.account_id
    LOOP
        PERFORM set_config('app.accounts', one.account_id::text, true);
        PERFORM credit_settle(one.account_id, one.as_of);
        PERFORM set_config('app.accounts', shown, true);
    END LOOP;
    IF cardinality(p_apart) = 0 AND (
        SELECT count(DISTINCT d.bought_only) = 1 FROM unnest(p_dues) AS d)
    THEN
        RETURN usage_pay_alike_fast(p_dues, false);
    END IF;
    FOR part IN
        SELECT w.way, array_agg(d.ordinality::integer ORDER BY d.ordinality) AS places
        FROM unnest(p_dues) WITH ORDINALITY AS d
        CROSS JOIN LATERAL (SELECT CASE WHEN d.account = ANY (p_apart) THEN 'apart'
            WHEN d.bought_only THEN 'bought' ELSE 'any' END) AS w(way)
        GROUP BY w.way
    LOOP
        paid := usage_pay_alike_fast(
            ARRAY(SELECT p_dues[i] FROM unnest(part.places) AS i), part.way = 'apart');
        FOR i IN 1 .. cardinality(paid) LOOP
            entries[part.places[i]] := paid[i];
        END LOOP;
    END LOOP;
    RETURN entries;
END;
$$;
