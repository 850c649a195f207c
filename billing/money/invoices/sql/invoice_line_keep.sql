-- The lines of a numbered invoice stay, as its sums do. A line that is added to one is not refused:
-- the check of its content_hash finds it.
CREATE OR REPLACE FUNCTION invoice_line_keep() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM invoices WHERE id = OLD.invoice_id AND number IS NOT NULL) THEN
        RAISE EXCEPTION USING
            ERRCODE = 'restrict_violation',
            MESSAGE = 'the invoice of this line is numbered: ' || TG_OP || ' refused';
    END IF;
    RETURN coalesce(NEW, OLD);
END;
$$;
CREATE OR REPLACE TRIGGER line_stays
    BEFORE UPDATE OR DELETE ON invoice_lines
    FOR EACH ROW EXECUTE FUNCTION invoice_line_keep();
