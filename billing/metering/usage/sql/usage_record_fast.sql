-- Record uses where nothing depends on what was used before. Answers what the long way
-- (usage_record_rated) would, at half of its cost; a property test holds the two together. False:
-- nothing is written, for somebody may not be able to pay, or a use is too small for its price, or
-- too large.
-- Precondition: no use has a record, each lies in its account's open period, and
-- usage_may_be_fast(p_accounts) and usage_fast_kinds(p_accounts, …) say so.
CREATE OR REPLACE FUNCTION usage_record_fast(
    p_accounts usage_account[], p_kinds usage_fast_kind[], p_uses usage_input[])
RETURNS boolean
LANGUAGE plpgsql AS $$
DECLARE
    dues usage_due[] := '{}';
    entries uuid[];
BEGIN
    IF NOT usage_fits_fast(p_kinds, p_uses) THEN
        RETURN false;
    END IF;
    IF EXISTS (SELECT FROM unnest(p_kinds) WHERE unit_price > 0) THEN
        dues := usage_dues_fast(p_accounts, p_kinds, p_uses);
        IF dues IS NOT NULL THEN
            entries := usage_pay_fast(dues);
        END IF;
        IF entries IS NULL THEN
            RETURN false;
        END IF;
    END IF;
    PERFORM usage_insert_fast(p_accounts, p_kinds, p_uses, dues, entries);
    PERFORM usage_count_fast(p_accounts, p_kinds, p_uses);
    PERFORM usage_notify_budgets(p_accounts, '{}');
    RETURN true;
END;
$$;
