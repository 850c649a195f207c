-- Differences of all accounts are the operators' to see: customers' requests never read them.
REVOKE SELECT, INSERT, UPDATE, DELETE, TRUNCATE ON reconciliations FROM billing_app;
