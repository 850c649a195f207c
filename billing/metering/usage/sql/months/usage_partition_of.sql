-- The partition of billing_records for a current or coming month; NULL if it does not exist,
-- whatever usage_months says: the table alone may have been dropped.
CREATE OR REPLACE FUNCTION usage_partition_of(p_month date) RETURNS regclass
LANGUAGE sql STABLE
AS $$
    SELECT inhrelid::regclass
    FROM pg_inherits
    WHERE inhparent = to_regclass('billing_records')
        AND inhrelid = to_regclass('billing_records_' || to_char(p_month, 'YYYY_MM'))
$$;
