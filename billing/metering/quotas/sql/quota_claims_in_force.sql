-- Claims of events without a record that hold their amount at this instant. Postgres puts it in
-- place of the call, so its callers' plans are those of the table.
CREATE OR REPLACE FUNCTION quota_claims_in_force(p_account_id uuid, p_at timestamptz)
RETURNS SETOF quota_claims
LANGUAGE sql STABLE
AS $$
    SELECT c.* FROM quota_claims AS c
    WHERE c.account_id = p_account_id AND c.status = 'open' AND c.expires_at > p_at
$$;
