-- A quota as it is set: a limit of one owner and meter, per window.
CREATE TYPE quota_input AS (
    owner text, meter text, window_kind text, span_seconds integer, limit_amount numeric,
    is_hard boolean, alert_percents integer[]);

-- A use that asks for its part of every quota before it happens. `id` is that of its record.
CREATE TYPE quota_claim_input AS (
    id uuid, event_id text, user_id text, organization_id text, meter text, amount numeric,
    lifetime interval);

-- What a use counts on quotas, in the windows that its time lies in; no time is now. An id alone
-- gives back what was claimed for it.
CREATE TYPE quota_timed_use AS (
    id uuid, user_id text, organization_id text, meter text, amount numeric, at timestamptz,
    period_start timestamptz);
