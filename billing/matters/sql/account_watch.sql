-- The account's own matter looks at its rows by p_due; born, or opened again, if need be. Call it
-- last: it locks the matter's row, which comes after the account's lock. A matter with nothing due
-- within a day (billing.matters.kinds.REST) rests: no workflow runs until the sweeper starts it. A
-- halted one does its other steps, and what it waits for says nothing about these: it always looks.
CREATE OR REPLACE FUNCTION account_watch(
    p_account_id uuid, p_due timestamptz, p_at timestamptz, p_correlation_id text DEFAULT NULL)
RETURNS SETOF matters
LANGUAGE plpgsql AS $$
DECLARE
    name text := 'account/' || public_id('acc', p_account_id);
    rests boolean := p_due - p_at > interval '1 day';
BEGIN
    INSERT INTO matters AS m (
        workflow_id, account_id, kind, subject_id, next_due, status, correlation_id, created_at,
        woken_at)
    VALUES (
        name, p_account_id, 'account', p_account_id, p_due,
        CASE WHEN rests THEN 'resting' ELSE 'open' END, p_correlation_id, p_at, clock_timestamp())
    ON CONFLICT (workflow_id) DO UPDATE
    SET revision = m.revision + 1, next_due = least(m.next_due, p_due), next_step = NULL,
        next_key = NULL, woken_at = excluded.woken_at, started_at = NULL, closed_at = NULL,
        status = CASE
            WHEN m.status = 'halted' THEN 'halted'
            WHEN rests AND m.status <> 'open' THEN 'resting'
            ELSE 'open'
        END
    WHERE m.closed_at IS NOT NULL OR m.next_due IS NULL OR m.next_due > p_due
        OR (m.status = 'halted' AND m.started_at IS NOT NULL);
    RETURN QUERY SELECT m.* FROM matters AS m WHERE m.workflow_id = name;
END;
$$;
