-- A fact for the outside, numbered under the account's lock.
CREATE OR REPLACE FUNCTION credit_publish(
    p_account_id uuid, p_type text, p_data jsonb, p_at timestamptz)
RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM credit_publish_all(p_account_id, ARRAY[ROW(p_type, p_data, p_at)::credit_fact]);
END;
$$;
