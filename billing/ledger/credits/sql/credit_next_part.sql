-- The end of the first hold that is not in the first part (credit_settle_part) of what has expired;
-- null if one part is all.
CREATE OR REPLACE FUNCTION credit_next_part(p_account_id uuid, p_at timestamptz)
RETURNS timestamptz
LANGUAGE sql STABLE AS $$
    SELECT h.expires_at FROM credit_holds AS h
    WHERE h.account_id = p_account_id AND h.status = 'open' AND h.expires_at <= p_at
    ORDER BY h.expires_at OFFSET credit_part_size() LIMIT 1
$$;
