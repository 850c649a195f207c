-- A numbered invoice is a document that somebody has: corrections are credit notes. Its sums,
-- money, number and lines stay, whoever asks; what is paid, credited or applied of it goes on.
CREATE OR REPLACE FUNCTION invoice_keep() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION USING
        ERRCODE = 'restrict_violation',
        MESSAGE = 'invoice ' || OLD.number || ' is numbered: ' || TG_OP || ' refused';
END;
$$;
CREATE OR REPLACE TRIGGER numbered_stays
    BEFORE UPDATE OF account_id, issuer_id, fact_key, series, number, currency, subtotal_minor,
        discount_minor, tax_minor, tax_included_minor, total_minor, content_hash, issued_on
        ON invoices
    FOR EACH ROW
    WHEN (OLD.number IS NOT NULL AND (
        OLD.account_id, OLD.issuer_id, OLD.fact_key, OLD.series, OLD.number, OLD.currency,
        OLD.subtotal_minor, OLD.discount_minor, OLD.tax_minor, OLD.tax_included_minor,
        OLD.total_minor, OLD.content_hash, OLD.issued_on
    ) IS DISTINCT FROM (
        NEW.account_id, NEW.issuer_id, NEW.fact_key, NEW.series, NEW.number, NEW.currency,
        NEW.subtotal_minor, NEW.discount_minor, NEW.tax_minor, NEW.tax_included_minor,
        NEW.total_minor, NEW.content_hash, NEW.issued_on))
    EXECUTE FUNCTION invoice_keep();
CREATE OR REPLACE TRIGGER numbered_is_kept
    BEFORE DELETE ON invoices
    FOR EACH ROW
    WHEN (OLD.number IS NOT NULL)
    EXECUTE FUNCTION invoice_keep();
