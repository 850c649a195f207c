-- Return a voided use's credits to the lots of the entry that paid it, which may have paid other
-- voided uses, and pay unpaid uses with them. Returns the new entry. Expects the account's lock.
CREATE OR REPLACE FUNCTION usage_give_back(
    p_account_id uuid, p_id uuid, p_entry uuid, p_amount numeric, p_at timestamptz)
RETURNS uuid
LANGUAGE plpgsql
SET enable_seqscan = off
AS $$
DECLARE
    name text := public_id('bill', p_id);
BEGIN
    PERFORM credit_open(p_account_id, p_at);
    RETURN credit_give_back(
        p_account_id, p_entry, usage_given_back(p_account_id, p_entry), p_amount, name || '/void',
        name, p_at);
END;
$$;
