"""Rights are read from the statements of the migrations, in their order."""

from migrations.draft import ROLES
from migrations.rights import Right, statements, wanted


def test_statements_of_several_lines_names_and_roles_are_read() -> None:
    script = (
        "REVOKE DELETE, TRUNCATE ON\n    accounts,\n    events\nFROM billing_app;\n"
        "    GRANT EXECUTE ON FUNCTION made TO billing_app, billing_operator;\n"
        "REVOKE ALL ON FUNCTION made FROM PUBLIC;\n"
        "-- GRANT SELECT ON events TO billing_app;\n"
    )
    first, second, third = statements(script)
    assert first == (
        "REVOKE",
        {
            Right("TABLE", name, "billing_app", right)
            for name in ("accounts", "events")
            for right in ("DELETE", "TRUNCATE")
        },
    )
    assert second == ("GRANT", {Right("FUNCTION", "made", role, "EXECUTE") for role in ROLES})
    assert third == ("REVOKE", set())


def test_a_trail_is_only_written_and_read() -> None:
    found = {(one.role, one.right) for one in wanted(["billing_audit"]) if one.kind == "TABLE"}
    assert found == {(role, right) for role in ROLES for right in ("SELECT", "INSERT")}
