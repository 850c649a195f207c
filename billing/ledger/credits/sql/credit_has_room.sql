-- True if the same subscription's credits that come before these at the rollover of the cycle until
-- p_cycle_end do not fill the highest cap of the plans that brought them: the cycle's own, then
-- those of a higher cap, then newer ones (as credit_roll_over). What a clawback waits for in them
-- rolls over no more.
CREATE OR REPLACE FUNCTION credit_has_room(p_lot credit_lots, p_cycle_end timestamptz)
RETURNS boolean
LANGUAGE sql STABLE AS $$
    SELECT max(brought.cap) > coalesce(
        sum(l.remaining - l.claimed) FILTER (WHERE
            (l.cycle_end IS NOT DISTINCT FROM p_cycle_end, brought.cap, l.granted_seq) > (
                p_lot.cycle_end IS NOT DISTINCT FROM p_cycle_end,
                (mine.detail ->> 'rollover_cap')::numeric, p_lot.granted_seq)), 0)
    FROM credit_transactions AS mine
    JOIN credit_lots AS l ON l.account_id = mine.account_id
    JOIN credit_transactions AS t ON t.key = l.grant_key AND t.account_id = l.account_id
    CROSS JOIN LATERAL (SELECT (t.detail ->> 'rollover_cap')::numeric AS cap) AS brought
    WHERE mine.key = p_lot.grant_key AND mine.account_id = p_lot.account_id AND l.kind = 'plan'
        AND l.is_open AND l.kept_from >= p_lot.kept_from AND t.subject = mine.subject
$$;
