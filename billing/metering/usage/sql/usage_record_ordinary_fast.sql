-- Record uses where nothing depends on what was used before; those of the accounts at the places
-- `p_unusual` are left, and of those, added to them, that may not be able to pay. Writes what the
-- long way (usage_record_rated) would, at half of its cost; a property test holds the two together.
-- Precondition: no use has a record, and usage_unusual_accounts knows of no other account.
CREATE OR REPLACE FUNCTION usage_record_ordinary_fast(
    p_accounts usage_account[], p_kinds usage_fast_kind[], p_uses usage_input[],
    INOUT p_unusual integer[])
LANGUAGE plpgsql AS $$
DECLARE
    uses usage_input[] := p_uses;
    dues usage_due[] := '{}';
    funds record;
    entries uuid[];
BEGIN
    IF cardinality(p_unusual) > 0 THEN
        uses := usage_uses_of(p_uses, p_unusual, false);
    END IF;
    IF EXISTS (SELECT FROM unnest(p_kinds) WHERE unit_price > 0) THEN
        dues := usage_charges_fast(p_accounts, p_kinds, uses);
        funds := usage_funds_fast(dues);
        IF cardinality(funds.short) > 0 THEN
            p_unusual := p_unusual || funds.short;
            uses := usage_uses_of(uses, funds.short, false);
            dues := ARRAY(SELECT dues[i] FROM generate_subscripts(dues, 1) AS i
                WHERE (dues[i]).account NOT IN (SELECT unnest(funds.short)) ORDER BY i);
        END IF;
        entries := usage_pay_dues_fast(dues, funds.apart, funds.expired);
    END IF;
    IF cardinality(uses) > 0 THEN
        PERFORM usage_insert_fast(p_accounts, p_kinds, uses, dues, entries);
        PERFORM usage_count_fast(p_accounts, p_kinds, uses);
        PERFORM usage_notify_budgets(p_accounts, p_unusual);
    END IF;
END;
$$;
