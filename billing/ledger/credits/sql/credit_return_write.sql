-- The entries and events of credits that came back (credit_return_held), numbered from what the
-- balance row was before.
CREATE OR REPLACE FUNCTION credit_return_write(
    p_before credit_balances, p_shares credit_share[], p_reason text)
RETURNS void
LANGUAGE plpgsql
SET enable_hashjoin = on
AS $$
DECLARE
    facts credit_fact[];
BEGIN
    WITH entries AS MATERIALIZED (
        SELECT uuidv7() AS id, s.place, s.lot_id, s.at, e.kind, e.amount,
            p_before.seq + row_number() OVER w AS seq,
            p_before.balance - sum(e.amount) OVER w AS balance,
            public_id('lot', s.lot_id) AS lot, public_id('hld', s.hold_id) AS hold,
            CASE WHEN s.hold_id IS NULL THEN p_reason ELSE 'released' END AS reason
        FROM unnest(p_shares) AS s CROSS JOIN LATERAL (
            VALUES ('clawback', s.clawed), ('expire', s.expired)) AS e(kind, amount)
        WHERE s.lot_id IS NOT NULL AND e.amount > 0
        WINDOW w AS (ORDER BY s.place, e.kind)
    ), written AS (
        INSERT INTO credit_transactions (
            id, account_id, seq, kind, amount, balance_after, used_after, key, reason, subject,
            at, real_at)
        SELECT e.id, p_before.account_id, e.seq, e.kind, -e.amount, e.balance, p_before.used,
            coalesce(e.hold || '/' || e.lot || '/' || e.kind, credit_expiry_key(e.lot, e.seq)),
            e.reason, CASE e.kind WHEN 'clawback' THEN e.hold ELSE e.lot END,
            greatest(p_before.last_at, e.at), clock_timestamp()
        FROM entries AS e
    ), split AS (
        INSERT INTO credit_transaction_lots (transaction_id, lot_id, account_id, amount)
        SELECT e.id, e.lot_id, p_before.account_id, -e.amount FROM entries AS e
    )
    SELECT array_agg(ROW(f.type, f.data, f.at)::credit_fact ORDER BY f.place) INTO facts
    FROM (
        SELECT e.place, e.at, 'credits.expired' AS type, jsonb_build_object(
            'lot_id', e.lot, 'credits', public_decimal(e.amount),
            'balance', public_decimal(e.balance), 'reason', e.reason) AS data
        FROM entries AS e WHERE e.kind = 'expire'
        UNION ALL
        SELECT s.place, s.at, 'credits.hold_expired', jsonb_build_object(
            'hold_id', public_id('hld', s.hold_id), 'credits', public_decimal(s.amount))
        FROM unnest(p_shares) AS s WHERE s.lot_id IS NULL) AS f;
    PERFORM credit_publish_all(p_before.account_id, facts) WHERE facts IS NOT NULL;
END;
$$;
