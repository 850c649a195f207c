-- Pay each due with one ledger entry, in order; usage_funds_fast has checked that all can pay, and
-- tells whose lots need not be searched (`p_covered`, `p_lots`). One statement pays all, except
-- accounts whose dues are paid one by one (`p_apart`), dues that only bought credits may pay, and
-- those of other lots.
CREATE OR REPLACE FUNCTION usage_pay_dues_fast(
    p_dues usage_due[], p_apart integer[], p_expired integer[], p_covered integer[], p_lots uuid[])
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
        WHERE d.account = ANY (p_expired) AND d.account <> ALL (p_apart)
        GROUP BY d.account_id ORDER BY d.account_id
    LOOP
        PERFORM set_config('app.accounts', one.account_id::text, true);
        PERFORM credit_settle(one.account_id, one.as_of);
        PERFORM set_config('app.accounts', shown, true);
    END LOOP;
    IF cardinality(p_apart) = 0 AND cardinality(p_lots) IN (0, cardinality(p_dues)) AND (
        SELECT count(DISTINCT d.bought_only) = 1 FROM unnest(p_dues) AS d)
    THEN
        RETURN usage_pay_alike_fast(p_dues, p_lots, false);
    END IF;
    FOR part IN
        SELECT w.is_apart, array_agg(d.ordinality::integer ORDER BY d.ordinality) AS places,
            array_agg(l.id ORDER BY d.ordinality) FILTER (WHERE l.id IS NOT NULL) AS lots
        FROM unnest(p_dues) WITH ORDINALITY AS d
        CROSS JOIN LATERAL (SELECT d.account = ANY (p_apart)) AS w(is_apart)
        LEFT JOIN unnest(p_covered, p_lots) AS l(account, id)
            ON l.account = d.account AND NOT w.is_apart
        GROUP BY w.is_apart, l.id IS NULL, d.bought_only AND NOT w.is_apart
    LOOP
        paid := usage_pay_alike_fast(
            ARRAY(SELECT p_dues[i] FROM unnest(part.places) AS i), part.lots, part.is_apart);
        FOR i IN 1 .. cardinality(paid) LOOP
            entries[part.places[i]] := paid[i];
        END LOOP;
    END LOOP;
    RETURN entries;
END;
$$;
