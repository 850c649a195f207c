-- What a numbered invoice says is a fact: a correction is a credit note. Its standing (paid, void,
-- who collects it) goes on.
CREATE OR REPLACE FUNCTION refuse_new_content() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION USING
        ERRCODE = 'restrict_violation',
        MESSAGE = 'invoice ' || OLD.number || ' is final: write a credit note';
END;
$$;

CREATE OR REPLACE TRIGGER numbered_is_final
    BEFORE UPDATE ON invoices FOR EACH ROW
    WHEN (OLD.number IS NOT NULL AND (
        OLD.account_id, OLD.issuer_id, OLD.series, OLD.number, OLD.currency, OLD.subtotal_minor,
        OLD.discount_minor, OLD.tax_minor, OLD.tax_included_minor, OLD.total_minor,
        OLD.issued_on, OLD.finalized_at
    ) IS DISTINCT FROM (
        NEW.account_id, NEW.issuer_id, NEW.series, NEW.number, NEW.currency, NEW.subtotal_minor,
        NEW.discount_minor, NEW.tax_minor, NEW.tax_included_minor, NEW.total_minor,
        NEW.issued_on, NEW.finalized_at
    ))
    EXECUTE FUNCTION refuse_new_content();
