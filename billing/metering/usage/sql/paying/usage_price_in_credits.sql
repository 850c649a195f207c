-- Price a use in credits that was priced in money: credits have paid it, not its card. Expects the
-- account's lock.
CREATE OR REPLACE FUNCTION usage_price_in_credits(
    p_account_id uuid, p_id uuid, p_unit_price numeric, p_total numeric)
RETURNS void
LANGUAGE plpgsql
SET enable_seqscan = off
AS $$
BEGIN
    PERFORM usage_count_again(p_account_id, ARRAY[p_id], -1);
    UPDATE billing_records
    SET currency = 'CREDIT', unit_price = p_unit_price, total_amount = p_total
    WHERE id = p_id AND month = ANY (usage_record_months(p_id));
    PERFORM usage_count_again(p_account_id, ARRAY[p_id], 1);
END;
$$;
