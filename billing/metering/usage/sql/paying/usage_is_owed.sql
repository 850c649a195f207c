-- Nothing is paying a use with this status, currency and method: it was put off, or its payment
-- failed. BillingRecord.is_owed says the same of a record that was read.
CREATE OR REPLACE FUNCTION usage_is_owed(p_status text, p_currency text, p_method text)
RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT p_status = 'failed'
        OR p_status = 'pending' AND p_currency = 'CREDIT' AND p_method <> 'payment_charge'
$$;
