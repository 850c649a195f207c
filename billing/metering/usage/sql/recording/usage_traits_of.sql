-- What is true of any of these accounts.
CREATE OR REPLACE FUNCTION usage_traits_of(p_accounts usage_account[]) RETURNS usage_traits
LANGUAGE sql STABLE AS $$
    SELECT ROW(
        percentile_disc(0.5) WITHIN GROUP (ORDER BY a.as_of), bool_or(a.has_prices),
        bool_or(a.has_quotas), bool_or(a.budget_mode IS NOT NULL),
        coalesce(bool_or(a.budget_mode = 'block'), false), bool_or(a.limits <> '{}'))::usage_traits
    FROM unnest(p_accounts) AS a
$$;
