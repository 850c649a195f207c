-- Record uses where nothing depends on what was used before; those of the accounts at the places
-- `p_unusual` are left, and of those, added to them, that may not be able to pay. `included` are
-- those of them that a plan's allowance covers. Writes what the long way (usage_record_rated)
-- would, at half of its cost; a property test holds the two together.
-- Precondition: no use has a record; usage_unusual_accounts has told all about the accounts.
CREATE OR REPLACE FUNCTION usage_record_ordinary_fast(
    p_accounts usage_account[], p_kinds usage_fast_kind[], p_uses usage_input[],
    p_traits usage_traits, p_limited integer[], INOUT p_unusual integer[],
    OUT charged usage_input[], OUT included usage_input[])
LANGUAGE plpgsql AS $$
DECLARE
    dues usage_due[] := '{}';
    funds record;
    entries uuid[];
BEGIN
    charged := p_uses;
    included := '{}';
    IF cardinality(p_unusual) > 0 THEN
        charged := usage_uses_of(charged, p_unusual, false);
    END IF;
    IF cardinality(p_limited) > 0 THEN
        included := usage_included_uses(p_accounts, p_kinds, charged, p_limited);
        charged := ARRAY(SELECT u FROM unnest(charged) AS u
            WHERE u.place NOT IN (SELECT i.place FROM unnest(included) AS i) ORDER BY u.place);
    END IF;
    IF EXISTS (SELECT FROM unnest(p_kinds) WHERE unit_price > 0) THEN
        dues := usage_charges_fast(p_accounts, p_kinds, charged);
        funds := usage_funds_fast(dues);
        IF cardinality(funds.short) > 0 THEN
            p_unusual := p_unusual || funds.short;
            charged := usage_uses_of(charged, funds.short, false);
            included := usage_uses_of(included, funds.short, false);
            dues := ARRAY(SELECT dues[i] FROM generate_subscripts(dues, 1) AS i
                WHERE (dues[i]).account NOT IN (SELECT unnest(funds.short)) ORDER BY i);
        END IF;
        entries := usage_pay_dues_fast(
            dues, funds.apart, funds.expired, funds.covered, funds.lots);
    END IF;
    IF p_traits.has_quotas THEN
        PERFORM usage_count_quotas_fast(p_accounts, p_kinds, charged || included);
    END IF;
    IF cardinality(charged) > 0 THEN
        PERFORM usage_insert_fast(p_accounts, p_kinds, charged, dues, entries);
        PERFORM usage_count_fast(p_accounts, p_kinds, charged);
    END IF;
    IF cardinality(included) > 0 THEN
        PERFORM usage_record_included_fast(p_accounts, p_kinds, included);
    END IF;
    IF p_traits.has_budgets THEN
        PERFORM usage_notify_budgets(p_accounts, p_unusual);
    END IF;
END;
$$;
