-- The partition of billing_records for a month that has begun or comes; NULL where it is not there,
-- whatever usage_months says: somebody may have dropped the table alone.
CREATE OR REPLACE FUNCTION usage_partition_of(p_month date) RETURNS regclass
LANGUAGE sql STABLE
AS $$
    SELECT inhrelid::regclass
    FROM pg_inherits
    WHERE inhparent = to_regclass('billing_records')
        AND inhrelid = to_regclass('billing_records_' || to_char(p_month, 'YYYY_MM'))
$$;
