-- What a row says of money never changes, whoever asks: corrections are new rows. The release before
-- changes none of these columns either.
CREATE TRIGGER prices_stay
    BEFORE UPDATE OF id, kind, key, currency, interval_unit, interval_count, amount_minor,
        minimum_minor, version, created_at ON prices
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_rewrite();
CREATE TRIGGER plans_stay
    BEFORE UPDATE OF id, key, version, features, limits, add_ons, seats, trial_days, monthly_credits,
        allowance_unit, allowance_count, created_at ON plans
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_rewrite();
CREATE TRIGGER product_prices_stay
    BEFORE UPDATE OF id, product, currency, model, unit_price, package_size, free_units, tiers,
        percentage, effective_from ON product_prices
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_rewrite();
CREATE TRIGGER price_overrides_stay
    BEFORE UPDATE OF id, account_id, product, currency, model, unit_price, package_size, free_units,
        tiers, percentage, effective_from ON price_overrides
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_rewrite();
-- One that is not decided yet may be asked for another sum.
CREATE TRIGGER payments_stay
    BEFORE UPDATE OF id, account_id, invoice_id, flow, intent_key, amount_minor, currency ON payments
    FOR EACH ROW WHEN (old.closed_at IS NOT NULL OR old.settled_at IS NOT NULL)
    EXECUTE FUNCTION refuse_rewrite();
CREATE TRIGGER credit_lots_stay
    BEFORE UPDATE OF id, account_id, kind, scope, priority, is_paid, amount, grant_key, granted_seq
        ON credit_lots
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_rewrite();
CREATE TRIGGER billing_records_stay
    BEFORE UPDATE OF id, account_id, event_id, request_hash, user_id, product_id, meter,
        usage_amount, kind, voids ON billing_records
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_rewrite();

-- What a matter has done, it has done.
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON steps
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
REVOKE UPDATE, DELETE, TRUNCATE ON steps FROM billing_app, billing_operator;
