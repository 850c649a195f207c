-- A use as it comes in. `place` is its own in the list, from 1; `account` and `kind` are places in
-- the lists beside it. Uses of one account, share and method are paid by one entry of the ledger.
-- `used_at` null is now.
CREATE TYPE usage_input AS (
    place integer, account integer, kind integer, share integer, id uuid, hash bigint,
    event_id text, amount numeric, used_at timestamptz, user_id text, organization_id text,
    session_id text, request_id text, detail jsonb, hold_id uuid);

-- What many uses have in common: what was used, how it is paid, and whether payment may wait.
CREATE TYPE usage_kind AS (
    product_id text, service_type text, feature_type text, operation text, model text,
    method text, defers boolean);

-- A kind with the meter that counts it; no meter: nothing by that name is counted.
CREATE TYPE usage_metered AS (
    kind integer, product_id text, service_type text, feature_type text, operation text,
    model text, method text, defers boolean, meter text, counts text, is_hourly boolean);

-- A kind on the fast path: its price, and the first kind that shares its counter.
CREATE TYPE usage_fast_kind AS (
    kind integer, product_id text, service_type text, feature_type text, operation text,
    model text, method text, meter text, unit_price numeric, is_hourly boolean, facet text,
    counter integer);

-- The price of one unit that an account has of its own for a kind; null where its price is not of
-- that sort, or another one for some of its uses.
CREATE TYPE usage_own_price AS (kind integer, unit_price numeric);

-- A locked account at its time `as_of`, with its open period.
CREATE TYPE usage_account AS (
    place integer, account_id uuid, as_of timestamptz, start_at timestamptz, day_at timestamptz,
    zone text, limits jsonb, currency text, budget_mode text, has_prices boolean,
    has_quotas boolean, is_due boolean);

-- What is true of any of the accounts of a statement, told by one look at all of them (caps are
-- blocking budgets); `priced_at` is the time of most of them, for a customer of a test may live in
-- another year.
CREATE TYPE usage_traits AS (
    priced_at timestamptz, has_prices boolean, has_quotas boolean, has_budgets boolean,
    has_caps boolean, has_limits boolean);

CREATE TYPE usage_price AS (
    model text, unit_price numeric, package_size numeric, free_units numeric, tiers jsonb);

-- A billing record in the making. `available` is what there was to pay a refused one with.
CREATE TYPE usage_rated AS (
    use usage_input, kind usage_metered, account_id uuid, meter text,
    included_units numeric(27, 12),
    charged_units numeric(27, 12), unit_price numeric(27, 12), total_amount numeric(27, 12),
    currency text, billing_method text, billing_status text, is_free_tier boolean, is_late boolean,
    failure text, transaction_id uuid, period_start timestamptz, day_at timestamptz,
    occurred_at timestamptz, created_at timestamptz, is_limited boolean, is_graded boolean,
    available numeric);

-- What became of a use: recorded; duplicate (same id and hash: the first answer); conflict (same
-- id, other hash); or the code of its refusal.
CREATE TYPE usage_answer AS (
    place integer, verdict text, id uuid, meter text, unit_price numeric, total numeric,
    currency text, method text, status text, is_free boolean, is_included boolean,
    required numeric, available numeric);

-- An event that was recorded or claimed under another id: the one asked for, and that other one.
CREATE TYPE usage_repeat AS (asked uuid, id uuid);

-- What a record is counted by.
CREATE TYPE usage_countable AS (
    facet text, user_id text, organization_id text, operation text, model text, product_id text,
    is_hourly boolean, is_graded boolean, units numeric, charged_units numeric,
    total_amount numeric, currency text, is_free_tier boolean, day_at timestamptz,
    occurred_at timestamptz);

-- What is added to one row of usage_counters.
CREATE TYPE usage_counter_sum AS (
    account_id uuid, owner text, grain text, period_start timestamptz, bucket timestamptz,
    meter text, facet text, quantity numeric, events bigint, maximum numeric,
    last_value numeric, last_at timestamptz, credits numeric, overage numeric,
    overage_total numeric);

-- By how much an account's own use of a meter in one cycle has grown.
CREATE TYPE usage_growth AS (
    account_id uuid, period_start timestamptz, meter text, added numeric);

-- What the uses of one account, share and method cost together.
CREATE TYPE usage_due AS (
    account integer, share integer, method text, account_id uuid, as_of timestamptz,
    amount numeric, key text, reason text, bought_only boolean);

-- A threshold that was crossed; `subject` names the plan, quota or budget it belongs to.
CREATE TYPE usage_threshold_alert AS (
    subject text, meter text, owner text, percent integer, window_start timestamptz,
    limit_amount numeric, used_amount numeric);

-- An invoice line that bills one meter of one cycle.
CREATE TYPE usage_line AS (
    meter text, start_at timestamptz, end_at timestamptz, zone text, currency text,
    true_up numeric, invoice text);
