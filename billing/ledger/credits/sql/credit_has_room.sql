-- True if the newer credits of the same subscription that may roll over do not fill the highest cap
-- of the plans that brought them. What a clawback waits for in them rolls over no more.
CREATE OR REPLACE FUNCTION credit_has_room(p_lot credit_lots) RETURNS boolean
LANGUAGE sql STABLE AS $$
    SELECT max((t.detail ->> 'rollover_cap')::numeric) > coalesce(
        sum(l.remaining - l.claimed) FILTER (WHERE l.granted_seq > p_lot.granted_seq), 0)
    FROM credit_transactions AS mine
    JOIN credit_lots AS l ON l.account_id = mine.account_id
    JOIN credit_transactions AS t ON t.key = l.grant_key AND t.account_id = l.account_id
    WHERE mine.key = p_lot.grant_key AND mine.account_id = p_lot.account_id AND l.kind = 'plan'
        AND l.is_open AND l.kept_from >= p_lot.kept_from AND t.subject = mine.subject
$$;
