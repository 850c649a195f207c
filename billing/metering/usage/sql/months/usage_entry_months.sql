-- The months that may contain the records that a ledger entry paid or gave back. It is written
-- with them, by clocks that differ a little, and its key names the first (usage_debit); or it names
-- one that is older as its subject.
CREATE OR REPLACE FUNCTION usage_entry_months(p_entry uuid, p_key text, p_subject text)
RETURNS date[]
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT ARRAY[
        (usage_month_of(p_entry, false) - interval '1 month')::date,
        usage_month_of(p_entry, false),
        (usage_month_of(p_entry, false) + interval '1 month')::date,
        usage_month_of(substring(p_key FROM '^usage/([-0-9a-f]{36})$')::uuid, false),
        usage_month_of(public_uuid(p_subject), false),
        usage_first_month()]
$$;
