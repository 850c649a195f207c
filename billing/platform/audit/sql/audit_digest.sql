-- The digest of an entry of the audit, with that of the entry before in it: whoever rewrites one
-- has to rewrite all that follow. In words that no setting of a session changes.
CREATE OR REPLACE FUNCTION audit_digest(p_entry billing_audit, p_before bytea) RETURNS bytea
LANGUAGE sql STABLE AS $$
    SELECT sha256(convert_to(jsonb_build_array(
        p_entry.id, p_entry.account_id, p_entry.actor, p_entry.action, p_entry.subject,
        p_entry.detail, p_entry.correlation_id, extract(epoch FROM p_entry.at),
        extract(epoch FROM p_entry.real_at), p_entry.previous_id, encode(p_before, 'hex')
    )::text, 'UTF8'))
$$;
