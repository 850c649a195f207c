-- A card is being charged for a use with this status and method; BillingRecord.is_charging is the
-- same rule for a record.
CREATE OR REPLACE FUNCTION usage_is_charging(p_status text, p_method text) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT p_status IN ('pending', 'processing') AND p_method = 'payment_charge'
$$;
