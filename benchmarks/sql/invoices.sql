-- Paid invoices of the past: the first account has a fifth of them, as in the history of uses.
INSERT INTO invoices (
    id, account_id, workflow_id, fact_key, status, series, number, currency, subtotal_minor,
    total_minor, amount_due_minor, amount_paid_minor, settlement, issued_on, due_at, finalized_at,
    paid_at, created_at)
SELECT uuidv7(), p.id, 'subscription/bench', 'bench/' || i.n, 'paid', 'BENCH',
    'BENCH-' || lpad(i.n::text, 9, '0'), 'USD', 4900, 4900, 4900, 4900, 'payment', i.at::date,
    i.at, i.at, i.at, i.at
FROM (SELECT n, CASE WHEN n % 5 = 0 THEN 1 ELSE 1 + n % {accounts} END AS place,
             clock_timestamp() - make_interval(secs => n) AS at
      FROM generate_series(1, {rows}) AS n) AS i
JOIN bench_picks AS p ON p.n = i.place;
