-- Credits arrive as one lot, once per key. Debt is paid from the lot first, with its own entry; a
-- lot granted after its own end lapses at once.
-- Verdicts: ok, duplicate (the first grant's answer), conflict (the key is something else),
-- no_account.
CREATE OR REPLACE FUNCTION credit_grant(
    p_account_id uuid, p_amount numeric, p_kind text, p_key text, p_is_paid boolean,
    p_reason text, p_at timestamptz DEFAULT NULL, p_expires_at timestamptz DEFAULT NULL,
    p_scope text DEFAULT NULL, p_priority integer DEFAULT 100, p_subject text DEFAULT NULL,
    p_detail jsonb DEFAULT '{}',
    OUT verdict text, OUT lot_id uuid, OUT transaction_id uuid, OUT amount numeric,
    OUT balance numeric, OUT debt_paid numeric)
LANGUAGE plpgsql
SET enable_seqscan = off
SET plan_cache_mode = force_generic_plan
AS $$
#variable_conflict use_column
DECLARE
    shown text := coalesce(current_setting('app.accounts', true), '');
    as_of timestamptz := credit_enter(p_account_id, p_at);
    entry credit_transactions;
BEGIN
    SELECT * INTO entry FROM credit_transactions WHERE key = p_key AND account_id = p_account_id;
    verdict := CASE
        WHEN as_of IS NULL THEN 'no_account'
        WHEN entry.kind = 'grant' THEN 'duplicate'
        WHEN entry.id IS NOT NULL THEN 'conflict'
        ELSE 'ok'
    END;
    IF verdict = 'ok' THEN
        PERFORM credit_grant_lot(
            p_account_id, p_amount, p_kind, p_key, p_is_paid, p_reason, as_of, p_expires_at,
            p_scope, p_priority, p_subject, p_detail);
    END IF;

    SELECT l.id, t.id, l.amount, coalesce(d.balance_after, t.balance_after), coalesce(-d.amount, 0)
    INTO lot_id, transaction_id, amount, balance, debt_paid
    FROM credit_lots AS l
    JOIN credit_transactions AS t ON t.key = l.grant_key
    LEFT JOIN credit_transactions AS d ON d.key = l.grant_key || '/debt'
    WHERE l.grant_key = p_key;
    PERFORM set_config('app.accounts', shown, true);
END;
$$;

CREATE OR REPLACE FUNCTION credit_grant_lot(
    p_account_id uuid, p_amount numeric, p_kind text, p_key text, p_is_paid boolean,
    p_reason text, p_at timestamptz, p_expires_at timestamptz, p_scope text, p_priority integer,
    p_subject text, p_detail jsonb)
RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    new_lot uuid := uuidv7();
    owed numeric;
BEGIN
    -- Born empty: credit_book alone moves `remaining`.
    INSERT INTO credit_lots (
        id, account_id, kind, scope, priority, is_paid, amount, remaining, expires_at, is_open,
        grant_key, granted_seq, created_at)
    SELECT
        new_lot, p_account_id, p_kind, p_scope, p_priority, p_is_paid, p_amount, 0, p_expires_at,
        false, p_key, seq + 1, greatest(last_at, p_at)
    FROM credit_balances WHERE account_id = p_account_id;
    PERFORM credit_book(
        p_account_id, 'grant', p_key, NULL, p_reason, p_subject, p_detail, p_at,
        ARRAY[new_lot], ARRAY[p_amount]);

    UPDATE credit_balances SET next_expiry = least(next_expiry, p_expires_at)
    WHERE account_id = p_account_id
    RETURNING least(debt, p_amount) INTO owed;
    IF owed > 0 THEN
        PERFORM credit_book(
            p_account_id, 'debt', p_key || '/debt', NULL, 'debt paid', p_subject, '{}', p_at,
            ARRAY[new_lot], ARRAY[-owed]);
    END IF;
    IF p_expires_at <= p_at THEN
        PERFORM credit_settle(p_account_id, p_at);
    END IF;
END;
$$;
