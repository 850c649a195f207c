-- Nothing is paying a use with this status, currency and method: it was deferred, or its payment
-- failed. BillingRecord.is_owed is the same rule for a record.
CREATE OR REPLACE FUNCTION usage_is_owed(p_status text, p_currency text, p_method text)
RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT p_status = 'failed'
        OR p_status = 'pending' AND p_currency = 'CREDIT' AND p_method <> 'payment_charge'
$$;
