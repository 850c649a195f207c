-- What an unpaid use costs in credits: as it was priced, or if a card failed to pay it in money, by
-- the price per unit in credits that its product had at its time, the account's own before the
-- product's. No row: credits cannot pay it. service.price_in says the same.
CREATE OR REPLACE FUNCTION usage_due_in_credits(p_record billing_records)
RETURNS TABLE (unit_price numeric, total numeric)
LANGUAGE sql STABLE
SET enable_seqscan = off
AS $$
    SELECT p_record.unit_price, p_record.total_amount
    WHERE p_record.currency = 'CREDIT'
    UNION ALL
    SELECT t.unit_price, usage_charge_units(p_record.charged_units, t.unit_price, 'CREDIT')
    FROM (
        SELECT p.unit_price, p.model = 'per_unit' AND p.free_units = 0 AS is_plain
        FROM (
            SELECT 1 AS rank, unit_price, model, free_units, effective_from
            FROM price_overrides
            WHERE account_id = p_record.account_id AND product = p_record.product_id
                AND currency = 'CREDIT' AND effective_from <= p_record.occurred_at
                AND p_record.occurred_at < coalesce(effective_to, 'infinity')
            UNION ALL
            SELECT 2, unit_price, model, free_units, effective_from
            FROM product_prices
            WHERE product = p_record.product_id
                AND currency = 'CREDIT' AND effective_from <= p_record.occurred_at
                AND p_record.occurred_at < coalesce(effective_to, 'infinity')) AS p
        ORDER BY p.rank, p.effective_from DESC LIMIT 1) AS t
    WHERE p_record.currency <> 'CREDIT' AND t.is_plain AND t.unit_price > 0
$$;
