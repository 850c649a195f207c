-- What an unpaid use costs in credits: as it was priced, or if a card failed to pay it in money, by
-- the price per unit in credits that its product had at its time: the account's own before the
-- product's, which does not count where the product service prices the product for the account. No
-- row: credits cannot pay it.
CREATE OR REPLACE FUNCTION usage_due_in_credits(p_record billing_records)
RETURNS TABLE (unit_price numeric, total numeric)
LANGUAGE sql STABLE
SET enable_seqscan = off
AS $$
    SELECT p_record.unit_price, p_record.total_amount
    WHERE p_record.currency = 'CREDIT'
    UNION ALL
    SELECT t.unit_price, c.total
    FROM (
        SELECT p.currency, p.unit_price, p.model = 'per_unit' AND p.free_units = 0 AS is_plain
        FROM (
            SELECT 1 AS rank, currency, unit_price, model, free_units, effective_from
            FROM price_overrides
            WHERE account_id = p_record.account_id AND product = p_record.product_id
                AND (currency = 'CREDIT' OR source = 'service')
                AND effective_from <= p_record.occurred_at
                AND p_record.occurred_at < coalesce(effective_to, 'infinity')
            UNION ALL
            SELECT 2, currency, unit_price, model, free_units, effective_from
            FROM product_prices
            WHERE product = p_record.product_id
                AND currency = 'CREDIT' AND effective_from <= p_record.occurred_at
                AND p_record.occurred_at < coalesce(effective_to, 'infinity')) AS p
        ORDER BY p.rank, p.currency = 'CREDIT' DESC, p.effective_from DESC LIMIT 1) AS t
    CROSS JOIN LATERAL (
        SELECT usage_charge_units(p_record.charged_units, t.unit_price, 'CREDIT') AS total) AS c
    WHERE p_record.currency <> 'CREDIT' AND t.currency = 'CREDIT' AND t.is_plain AND c.total > 0
$$;
