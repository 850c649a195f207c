-- Give back what holds kept, and let lots whose time is over expire, in this order (credit_shares):
-- in a few statements for all, because each version of a row that one transaction writes is read by
-- its next statements. `p_reason` says why lots expire. Returns how much expired. Expects the
-- account's lock.
CREATE OR REPLACE FUNCTION credit_return_held(
    p_account_id uuid, p_returns credit_return[], p_reason text)
RETURNS numeric
LANGUAGE plpgsql
SET enable_hashjoin = on
AS $$
DECLARE
    before credit_balances := (
        SELECT b FROM credit_balances AS b WHERE b.account_id = p_account_id);
    shares credit_share[] := ARRAY(SELECT s FROM credit_shares(p_returns) AS s);
    sums record;
BEGIN
    SELECT coalesce(sum(s.amount), 0) AS amount, coalesce(sum(s.expired), 0) AS expired,
        coalesce(sum(s.clawed + s.expired), 0) AS gone,
        count(*) FILTER (WHERE s.clawed > 0) + count(*) FILTER (WHERE s.expired > 0) AS entries,
        max(s.at) FILTER (WHERE s.clawed + s.expired > 0) AS last_at
    INTO sums FROM unnest(shares) AS s WHERE s.lot_id IS NOT NULL;
    UPDATE credit_lots AS l
    SET held = l.held - s.amount, claimed = l.claimed - s.clawed, clawed = l.clawed + s.clawed,
        remaining = l.remaining - s.gone, is_open = l.remaining > s.gone
    FROM (
        SELECT u.lot_id, sum(u.amount) AS amount, sum(u.clawed) AS clawed,
            sum(u.clawed + u.expired) AS gone
        FROM unnest(shares) AS u GROUP BY u.lot_id) AS s
    WHERE l.id = s.lot_id AND s.amount + s.gone > 0;
    IF sums.entries > 0 OR EXISTS (SELECT FROM unnest(shares) AS s WHERE s.lot_id IS NULL) THEN
        PERFORM credit_return_write(before, shares, p_reason);
    END IF;
    -- Last, for it tells that the balance is low (credit_notify_low), which follows from the rest.
    UPDATE credit_balances
    SET held = held - sums.amount, balance = balance - sums.gone, seq = seq + sums.entries,
        last_at = greatest(last_at, sums.last_at)
    WHERE account_id = p_account_id;
    RETURN sums.expired;
END;
$$;
