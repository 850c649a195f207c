-- Invoice charges for archived months' records. The reader's own rights and row-level security
-- apply.
CREATE OR REPLACE VIEW sealed_lines WITH (security_invoker = true) AS
SELECT s.account_id, l.meter, l.period_start, l.units, l.total
FROM sealed_usage AS s
JOIN month_files AS f ON f.id = s.file_id AND f.is_away
CROSS JOIN LATERAL jsonb_to_recordset(s.lines) AS l(
    meter text, period_start timestamptz, units numeric, total numeric);
