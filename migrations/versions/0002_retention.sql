-- Events are let go when they are old, by the operators' daily job alone. Young ones are not: whoever
-- gets hold of its role hides nothing from those who follow them.
GRANT DELETE ON events TO billing_operator;
CREATE TRIGGER young_stay BEFORE DELETE ON events FOR EACH ROW
    WHEN (current_user = 'billing_operator' AND OLD.created_at > clock_timestamp() - interval '12 hours')
    EXECUTE FUNCTION refuse_change();

REVOKE INSERT, UPDATE, DELETE, TRUNCATE ON dropped_events FROM billing_app;
REVOKE DELETE, TRUNCATE ON dropped_events FROM billing_operator;
