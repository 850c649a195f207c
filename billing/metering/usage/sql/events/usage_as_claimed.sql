-- Uses that were claimed in another month get the id of their claim: their record keeps it and
-- closes the claim, also across the turn of a month.
CREATE OR REPLACE FUNCTION usage_as_claimed(p_uses usage_input[]) RETURNS usage_input[]
LANGUAGE plpgsql STABLE AS $$
DECLARE
    claimed record;
BEGIN
    IF NOT usage_claims_may_differ() THEN
        RETURN p_uses;
    END IF;
    FOR claimed IN
        SELECT u.at, k.id
        FROM unnest(usage_claimed_ids(ARRAY(
            SELECT u.id FROM unnest(p_uses) AS u WHERE u.event_id IS NOT NULL))) AS k
        JOIN (
            SELECT u.id, u.ordinality AS at FROM unnest(p_uses) WITH ORDINALITY AS u) AS u
            ON u.id = k.asked
    LOOP
        p_uses[claimed.at].id := claimed.id;
    END LOOP;
    RETURN p_uses;
END;
$$;
