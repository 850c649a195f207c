-- Facts for the outside, in this order, numbered under the account's lock.
CREATE OR REPLACE FUNCTION credit_publish_all(p_account_id uuid, p_facts credit_fact[])
RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    account text := public_id('acc', p_account_id);
BEGIN
    WITH numbered AS (
        UPDATE credit_balances SET event_seq = cardinality(p_facts)
            + greatest(event_seq, (SELECT max(last_number) FROM skipped_events))
        WHERE account_id = p_account_id
        RETURNING event_seq - cardinality(p_facts) AS before
    )
    INSERT INTO events (id, account_id, seq, type, data, occurred_at, created_at)
    SELECT
        uuidv7(), p_account_id, n.before + f.place, 'evt.billing.' || f.type,
        jsonb_build_object('account_id', account) || f.data, f.at, clock_timestamp()
    FROM numbered AS n CROSS JOIN unnest(p_facts) WITH ORDINALITY AS f(type, data, at, place);
END;
$$;
