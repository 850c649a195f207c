-- What the verbs take and answer. A changed type gets a new name: the release before uses this one.

-- One grant: credits that arrive as one lot.
CREATE TYPE credit_grant_item AS (
    account_id uuid, amount numeric, kind text, key text, is_paid boolean, reason text,
    expires_at timestamptz, scope text, priority integer, subject text, detail jsonb);

-- One debit of a batch. Amounts are positive and already rounded.
CREATE TYPE credit_debit_item AS (
    account_id uuid, amount numeric, key text, hash text, reason text, scope text,
    paid_only boolean, subject text, detail jsonb, forced boolean);

CREATE TYPE credit_debit_answer AS (
    place integer, verdict text, transaction_id uuid, amount numeric, balance numeric,
    available numeric, debt numeric, top_up boolean);

-- One hold of a batch, until expires_at or for a lifetime; `made_by` is the caller's own name.
CREATE TYPE credit_hold_item_v2 AS (
    account_id uuid, amount numeric, key text, hash text, reason text, expires_at timestamptz,
    lifetime interval, scope text, paid_only boolean, subject text, made_by text);

CREATE TYPE credit_hold_answer AS (
    place integer, verdict text, hold_id uuid, amount numeric, expires_at timestamptz,
    available numeric, status text, captured numeric, created_at timestamptz,
    resolved_at timestamptz, top_up boolean);

-- One capture of a batch; a null amount spends all of the hold.
CREATE TYPE credit_capture_item AS (
    account_id uuid, hold_id uuid, amount numeric, reason text, detail jsonb);

CREATE TYPE credit_capture_answer AS (
    place integer, verdict text, hold_id uuid, transaction_id uuid, captured numeric,
    released numeric, balance numeric);

-- What one lot gives, or gets.
CREATE TYPE credit_part AS (lot_id uuid, amount numeric);

-- What a hold gives back to a lot; without a hold, a lot whose time is over; without a lot, a hold
-- that expired.
CREATE TYPE credit_return AS (hold_id uuid, lot_id uuid, amount numeric, at timestamptz);

-- A return with what a clawback takes of it, and what expires.
CREATE TYPE credit_share AS (
    place bigint, hold_id uuid, lot_id uuid, amount numeric, at timestamptz, clawed numeric,
    expired numeric);

-- A fact for the outside, before it has its number.
CREATE TYPE credit_fact AS (type text, data jsonb, at timestamptz);

-- A ledger row as its verb describes it; credit_post adds what the balance says.
CREATE TYPE credit_posting AS (
    account_id uuid, kind text, key text, hash text, reason text, subject text, detail jsonb,
    at timestamptz);

-- A lot with what it has left to spend.
CREATE TYPE credit_free_lot AS (id uuid, free numeric, scope text, is_paid boolean);

-- A debit that was decided and is written with the others of its batch.
CREATE TYPE credit_debit_entry AS (
    id uuid, item credit_debit_item, seq bigint, debt numeric, balance_after numeric,
    used_after numeric, at timestamptz, parts credit_part[]);

-- What was decided for one account; `wants_at`: since then it wants credits bought.
CREATE TYPE credit_debits AS (
    answers credit_debit_answer[], entries credit_debit_entry[], wants_at timestamptz);
