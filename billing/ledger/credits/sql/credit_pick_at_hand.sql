-- Find lots that cover an item, or all but `p_room` of it, among those at hand, and fetch more
-- where they do not. `need` is what no lot covers. Only where that is not beyond the room are the
-- lots at hand touched: they give `parts`, and those with nothing left in front are dropped.
CREATE OR REPLACE FUNCTION credit_pick_at_hand(
    p_lots refcursor, INOUT at_hand credit_free_lot[], p_item credit_debit_item, p_room numeric,
    OUT parts credit_part[], OUT need numeric)
LANGUAGE plpgsql AS $$
DECLARE
    lot credit_free_lot;
    pick integer := 1;
    picks integer[] := '{}';
BEGIN
    need := p_item.amount;
    parts := '{}';
    WHILE need > 0 LOOP
        IF pick > cardinality(at_hand) THEN
            FETCH p_lots INTO lot;
            EXIT WHEN NOT FOUND;
            at_hand := at_hand || lot;
        END IF;
        lot := at_hand[pick];
        IF lot.free > 0
            AND credit_may_burn(lot.scope, lot.is_paid, p_item.scope, p_item.paid_only)
        THEN
            picks := picks || pick;
            parts := parts || ROW(lot.id, least(need, lot.free))::credit_part;
            need := need - least(need, lot.free);
        END IF;
        pick := pick + 1;
    END LOOP;
    IF need > p_room THEN
        RETURN;
    END IF;
    FOR nth IN 1 .. cardinality(picks) LOOP
        at_hand[picks[nth]].free := at_hand[picks[nth]].free - parts[nth].amount;
    END LOOP;
    WHILE at_hand[1].free = 0 LOOP
        at_hand := at_hand[2:];
    END LOOP;
END;
$$;
