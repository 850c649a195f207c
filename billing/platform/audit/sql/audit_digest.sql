-- The digest of an audit entry, including that of the preceding one: rewriting an entry means
-- rewriting all later ones. Independent of session settings.
CREATE OR REPLACE FUNCTION audit_digest(p_entry billing_audit, p_before bytea) RETURNS bytea
LANGUAGE sql STABLE AS $$
    SELECT sha256(convert_to(jsonb_build_array(
        p_entry.id, p_entry.account_id, p_entry.actor, p_entry.action, p_entry.subject,
        p_entry.detail, p_entry.correlation_id, extract(epoch FROM p_entry.at),
        extract(epoch FROM p_entry.real_at), p_entry.previous_id, encode(p_before, 'hex')
    )::text, 'UTF8'))
$$;
