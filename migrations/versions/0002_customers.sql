-- Customers that were deleted at Stripe.
ALTER TABLE accounts ADD gone_customer_id text;
CREATE INDEX ix_accounts_gone ON accounts (gone_customer_id) WHERE gone_customer_id IS NOT NULL;
