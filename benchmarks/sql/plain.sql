-- A plain ledger with what a debit cannot do without: lots in their order, a key, a line per lot.
CREATE TABLE bench_plain_balances (
    account_id uuid PRIMARY KEY, balance numeric NOT NULL CHECK (balance >= 0),
    seq bigint NOT NULL DEFAULT 0) WITH (fillfactor = 50);
CREATE TABLE bench_plain_lots (
    id uuid PRIMARY KEY DEFAULT uuidv7(), account_id uuid NOT NULL, priority integer NOT NULL,
    remaining numeric NOT NULL CHECK (remaining >= 0), is_open boolean NOT NULL DEFAULT true)
    WITH (fillfactor = 50);
CREATE INDEX bench_plain_lots_burn ON bench_plain_lots (account_id, priority, id) WHERE is_open;
CREATE TABLE bench_plain_entries (
    id uuid PRIMARY KEY DEFAULT uuidv7(), account_id uuid NOT NULL, seq bigint NOT NULL,
    amount numeric NOT NULL, balance_after numeric NOT NULL, key text NOT NULL UNIQUE,
    at timestamptz NOT NULL DEFAULT clock_timestamp(), UNIQUE (account_id, seq));
CREATE TABLE bench_plain_lines (
    entry_id uuid NOT NULL, lot_id uuid NOT NULL, amount numeric NOT NULL,
    PRIMARY KEY (entry_id, lot_id));
CREATE FUNCTION bench_plain_debit(p_account_id uuid, p_amount numeric, p_key text) RETURNS uuid
LANGUAGE plpgsql AS $$
DECLARE
    after record;
    lot record;
    entry uuid;
    owed numeric := p_amount;
BEGIN
    UPDATE bench_plain_balances SET balance = balance - p_amount, seq = seq + 1
    WHERE account_id = p_account_id AND balance >= p_amount
        AND NOT EXISTS (SELECT FROM bench_plain_entries WHERE key = p_key)
    RETURNING balance, seq INTO STRICT after;
    INSERT INTO bench_plain_entries (account_id, seq, amount, balance_after, key)
    VALUES (p_account_id, after.seq, -p_amount, after.balance, p_key) RETURNING id INTO entry;
    FOR lot IN SELECT id, remaining FROM bench_plain_lots
        WHERE account_id = p_account_id AND is_open ORDER BY priority, id
    LOOP
        UPDATE bench_plain_lots SET remaining = remaining - least(owed, lot.remaining),
            is_open = remaining > least(owed, lot.remaining) WHERE id = lot.id;
        INSERT INTO bench_plain_lines VALUES (entry, lot.id, -least(owed, lot.remaining));
        owed := owed - least(owed, lot.remaining);
        EXIT WHEN owed = 0;
    END LOOP;
    RETURN entry;
END;
$$;
INSERT INTO bench_plain_balances SELECT id, 100000000 FROM bench_picks;
INSERT INTO bench_plain_lots (account_id, priority, remaining)
SELECT id, 100, 100000000 FROM bench_picks;
ANALYZE bench_plain_balances, bench_plain_lots;
GRANT ALL ON bench_plain_balances, bench_plain_lots, bench_plain_entries, bench_plain_lines
    TO billing_app;
