-- Open claims of these ids' events that have another id, for they were made in another month. None
-- lives for a day, and so they are looked for on the first day of a month alone, and while programs
-- of the release before may be about.
CREATE OR REPLACE FUNCTION usage_claimed_ids(p_ids uuid[]) RETURNS usage_repeat[]
LANGUAGE plpgsql STABLE
SET enable_seqscan = off
AS $$
BEGIN
    IF NOT EXISTS (
        SELECT FROM usage_months
        WHERE ends_at > now() - interval '1 day' AND ends_at <= now() + interval '1 hour'
            OR month = DATE '1970-01-01' AND ends_at > now())
    THEN
        RETURN '{}';
    END IF;
    RETURN ARRAY(
        SELECT ROW(i.id, c.id)::usage_repeat
        FROM unnest(p_ids) AS i(id)
        CROSS JOIN unnest(usage_months_looked_at()) AS m(month)
        CROSS JOIN LATERAL (
            SELECT k.id FROM quota_claims AS k
            WHERE k.status = 'open' AND k.id <> i.id
                AND k.id >= CASE WHEN m.month = DATE '1970-01-01' THEN usage_id_before(i.id, '0')
                    ELSE usage_id_in_month(i.id, usage_month_digits(m.month)) END
                AND k.id <= CASE WHEN m.month = DATE '1970-01-01' THEN usage_id_before(i.id, 'f')
                    ELSE usage_id_in_month(i.id, usage_month_digits(m.month)) END
            LIMIT 1) AS c);
END;
$$;
