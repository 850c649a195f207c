-- An account's unpaid uses in order, the oldest first, from this one on, with what each costs in
-- credits and the method by which they pay it: no cost where they cannot, or where a card is being
-- charged. At most `p_most`.
CREATE OR REPLACE FUNCTION usage_next_unpaid(
    p_account_id uuid, p_from_at timestamptz, p_from_id uuid, p_most integer)
RETURNS TABLE (
    used_at timestamptz, id uuid, currency text, meter text, name text, method text,
    unit_price numeric, total numeric)
LANGUAGE sql STABLE AS $$
    SELECT u.used_at, u.record_id, r.currency, r.meter, r.name,
        CASE r.billing_method WHEN 'payment_charge' THEN 'credit_consumption'
            ELSE r.billing_method END, r.unit_price, r.total
    FROM (
        SELECT used_at, record_id FROM unpaid_uses
        WHERE account_id = p_account_id AND (used_at, record_id) >= (p_from_at, p_from_id)
        ORDER BY used_at, record_id LIMIT p_most) AS u
    LEFT JOIN LATERAL (
        SELECT b.currency, b.meter, coalesce(b.product_id, b.operation) AS name,
            b.billing_method, c.unit_price, c.total
        FROM billing_records AS b CROSS JOIN LATERAL usage_due_in_credits(b) AS c
        WHERE b.id = u.record_id AND b.month = ANY (usage_record_months(u.record_id))
            AND usage_is_owed(b.billing_status, b.currency, b.billing_method)) AS r ON true
    ORDER BY u.used_at, u.record_id
$$;
