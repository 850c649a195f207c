-- As usage_record_with_top_ups, for accounts that are not locked elsewhere, without waiting. Uses
-- of other accounts are answered `locked`, and must be sent again.
CREATE OR REPLACE FUNCTION usage_record_where_free(
    p_accounts uuid[], p_kinds usage_kind[], p_uses usage_input[], p_all boolean, p_new boolean)
RETURNS SETOF usage_answer
LANGUAGE plpgsql
SET enable_seqscan = off
AS $$
DECLARE
    free uuid[];
    uses usage_input[] := p_uses;
BEGIN
    PERFORM set_config('app.accounts', array_to_string(p_accounts, ','), true);
    SELECT array_agg(b.account_id) INTO free
    FROM (
        SELECT account_id FROM credit_balances WHERE account_id = ANY (p_accounts)
        ORDER BY account_id
        FOR NO KEY UPDATE SKIP LOCKED) AS b;
    IF free IS DISTINCT FROM p_accounts THEN
        RETURN QUERY SELECT u.place, 'locked', u.id, NULL::text, NULL::numeric, NULL::numeric,
            NULL::text, NULL::text, NULL::text, NULL::boolean, NULL::boolean, NULL::numeric,
            NULL::numeric
            FROM unnest(p_uses) AS u WHERE p_accounts[u.account] = ANY (free) IS NOT TRUE;
        uses := ARRAY(
            SELECT ROW(u.place, f.place, u.kind, u.share, u.id, u.hash, u.event_id, u.amount,
                u.used_at, u.user_id, u.organization_id, u.session_id, u.request_id, u.detail,
                u.hold_id)::usage_input
            FROM unnest(free) WITH ORDINALITY AS f(account_id, place)
            JOIN unnest(p_uses) AS u ON p_accounts[u.account] = f.account_id
            ORDER BY u.place);
    END IF;
    IF free IS NOT NULL THEN
        RETURN QUERY SELECT a.*
            FROM usage_record_with_top_ups(free, p_kinds, uses, p_all, p_new) AS a;
    END IF;
END;
$$;
