-- A fact for the outside, numbered under the account's lock.
CREATE OR REPLACE FUNCTION credit_publish(
    p_account_id uuid, p_type text, p_data jsonb, p_at timestamptz)
RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    WITH numbered AS (
        UPDATE credit_balances SET event_seq = 1
            + greatest(event_seq, (SELECT max(last_number) FROM skipped_events))
        WHERE account_id = p_account_id
        RETURNING event_seq
    )
    INSERT INTO events (id, account_id, seq, type, data, occurred_at, created_at)
    SELECT
        uuidv7(), p_account_id, event_seq, 'evt.billing.' || p_type,
        jsonb_build_object('account_id', public_id('acc', p_account_id)) || p_data,
        p_at, clock_timestamp()
    FROM numbered;
END;
$$;
