-- The use of a budget's window: the sum of the account's counters. Inlined where it is called.
CREATE OR REPLACE FUNCTION budget_spent(
    p_account_id uuid, p_measure text, p_meter text, p_window text, p_begins timestamptz,
    p_ends timestamptz)
RETURNS TABLE (used numeric)
LANGUAGE sql STABLE AS $$
    -- Days also count what a card pays at once; that is on no invoice to come, and voided it is
    -- nothing. A cycle is its own days, a month those that begin in it.
    SELECT coalesce(sum(CASE p_measure WHEN 'meter' THEN quantity WHEN 'credits' THEN credits
        ELSE CASE WHEN split_part(facet, '|', 2) <> 'payment_charge'
            OR split_part(facet, '|', 3) = 'refunded' THEN overage_total END
        END), 0)
    FROM usage_counters
    WHERE account_id = p_account_id AND owner = ''
        AND grain = 'day'
        AND period_start >= CASE p_window WHEN 'cycle' THEN p_begins ELSE '-infinity' END
        AND period_start <= CASE p_window WHEN 'cycle' THEN p_begins ELSE 'infinity' END
        AND bucket >= CASE p_window WHEN 'cycle' THEN '-infinity' ELSE p_begins END
        AND bucket < p_ends
        AND (p_measure <> 'meter' OR meter = p_meter)
$$;
