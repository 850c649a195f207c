-- What an owner used of a meter in one cycle: the sum of its days. The account's own overage is
-- what invoices charge; its days, and its users' and organisations' cycles, also count what a card
-- paid at once. Voided use that an invoice has charged keeps its place in the overage, because the
-- invoice's credit note returns it; the net overage is without it. It shows what the reader's own
-- rights and row-level security show.
--
-- A GROUP BY takes constants and LATERAL values into its scan, but no columns of a join: readers of
-- several cycles ask LATERAL, with a LIMIT or OFFSET that keeps it so.
CREATE OR REPLACE VIEW usage_cycles WITH (security_invoker = true) AS
SELECT
    account_id, owner, period_start, meter, sum(quantity) AS quantity,
    sum(events)::bigint AS events, max(maximum) AS maximum,
    (array_agg(last_value ORDER BY last_at DESC))[1] AS last_value, sum(credits) AS credits,
    coalesce(sum(overage) FILTER (WHERE split_part(facet, '|', 2) <> 'payment_charge'), 0)
        AS overage,
    coalesce(sum(overage_total) FILTER (WHERE split_part(facet, '|', 2) <> 'payment_charge'), 0)
        AS overage_total,
    -- What is sold beyond the allowance, for credits or money and whoever charged it, leaves the
    -- allowance as it is. What the plan included of uses that credits paid is counted apart.
    coalesce(sum(quantity) FILTER (WHERE NOT f.is_for_credits), 0) - sum(overage)
        + CASE WHEN bool_or(f.is_for_credits) THEN coalesce((
            SELECT sum(i.quantity) FROM usage_counters AS i
            WHERE i.account_id = usage_counters.account_id AND i.owner = 'i:' AND i.grain = 'day'
                AND i.period_start = usage_counters.period_start
                AND i.meter = usage_counters.meter), 0) ELSE 0 END AS covered,
    -- The record that voids such use has the method of a card, but no card paid it.
    coalesce(sum(overage) FILTER (WHERE split_part(facet, '|', 2) <> 'payment_charge'
        OR split_part(facet, '|', 3) = 'refunded'), 0) AS net_overage,
    coalesce(sum(overage_total) FILTER (WHERE split_part(facet, '|', 2) <> 'payment_charge'
        OR split_part(facet, '|', 3) = 'refunded'), 0) AS net_overage_total
FROM usage_counters
CROSS JOIN LATERAL (SELECT split_part(facet, '|', 4) = 'CREDIT'
    AND split_part(facet, '|', 2) <> 'subscription_included' AS is_for_credits) AS f
WHERE grain = 'day'
GROUP BY account_id, owner, period_start, meter;
