-- True if a card was charged for a use, or an invoice bills it.
CREATE OR REPLACE FUNCTION usage_is_charged(p_record billing_records) RETURNS boolean
LANGUAGE sql STABLE AS $$
    SELECT p_record.billing_method = 'payment_charge' AND p_record.billing_status = 'completed'
        OR p_record.currency <> 'CREDIT' AND (p_record.billing_status = 'completed' OR EXISTS (
            SELECT FROM usage_settlements
            WHERE account_id = p_record.account_id AND p_record.id = ANY (records)))
$$;
