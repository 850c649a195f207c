-- For each account: an open subscription, a resting account, and a pack bought in the last month.
INSERT INTO matters (
    workflow_id, account_id, kind, subject_id, status, next_due, next_step, created_at, woken_at,
    started_at)
SELECT m.kind || '/' || p.id, p.id, m.kind, p.id, m.status,
    clock_timestamp() + make_interval(days => 2 + p.n % 28), m.step, clock_timestamp(),
    clock_timestamp(), clock_timestamp()
FROM bench_picks AS p
CROSS JOIN (VALUES ('subscription', 'open', 'renew'), ('account', 'resting', 'expire'))
    AS m(kind, status, step);
CREATE TABLE bench_bought AS
SELECT uuidv7() AS id, uuidv7() AS invoice_id, p.id AS account_id, p.n,
    clock_timestamp() - make_interval(mins => p.n % 40000) AS at
FROM bench_picks AS p;
INSERT INTO invoices (
    id, account_id, workflow_id, fact_key, status, series, number, currency, subtotal_minor,
    total_minor, amount_due_minor, amount_paid_minor, settlement, issued_on, due_at, finalized_at,
    paid_at, created_at)
SELECT invoice_id, account_id, 'purchase/' || id, 'bought/' || n, 'paid', 'BOUGHT',
    'BOUGHT-' || lpad(n::text, 9, '0'), 'USD', 999, 999, 999, 999, 'payment', at::date, at, at, at,
    at
FROM bench_bought;
INSERT INTO purchases (
    id, account_id, pack, pack_name, credits, amount_minor, currency, platform, flow, status,
    invoice_id, created_at, expires_at, completed_at, closed_at)
SELECT id, account_id, 'bench', 'Bench', 100, 999, 'USD', 'web', 'card', 'completed', invoice_id,
    at, at, at, at
FROM bench_bought;
