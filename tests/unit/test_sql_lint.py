"""The rules for SQL find what they are for."""

from pathlib import Path

import pytest

from migrations import sql
from tests import sql_lint

GOOD = """-- What it does.
CREATE OR REPLACE FUNCTION probe(p_a integer) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    {line}
END;
$$;
"""


def found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, name: str = "probe") -> str:
    file = tmp_path / "sql" / f"{name}.sql"
    file.parent.mkdir(exist_ok=True)
    file.write_text(text)
    monkeypatch.setattr(sql, "BILLING", tmp_path)
    monkeypatch.setattr(sql_lint, "ROOT", tmp_path)
    return "\n".join(sql_lint.problems())


def test_the_tree_keeps_the_rules() -> None:
    assert sql_lint.problems() == []


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("INSERT INTO credit_lots SELECT 1;", "INSERT INTO credit_lots names no columns"),
        ("PERFORM ROW(1, 2)::credit_lots;", "a row is cast to credit_lots"),
        ("PERFORM (SELECT count(*) FROM (SELECT * FROM credit_lots) AS l);", "SELECT *"),
        ("PERFORM probe(p_a - 1);", "probe -> probe: recursion"),
        ("PERFORM credit_imagine(p_a);", "it calls credit_imagine, which nobody has written"),
        ("PERFORM usage_months_of(NULL);", "it asks for months of ids without SET plan_cache_mode"),
        (
            "PERFORM 1 FROM billing_records AS r WHERE r.month = ANY (months);",
            "it asks for months of ids without SET plan_cache_mode",
        ),
        ("UPDATE credit_lots SET;", "its body: syntax error"),
        ("PERFORM 1 from credit_lots;", "from is written small"),
        (
            "PERFORM 1 FROM credit_lots l JOIN credit_lots m ON m.grant_key = l.scope || '/x';",
            "no index serves m.grant_key = l.scope || '/x' under row-level security",
        ),
        ("PERFORM 1;" + " " * 100, "longer than 100 columns"),
        ("PERFORM 1;\n" * 80, "86 lines, more than 70"),
    ],
)
def test_a_broken_rule_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str, problem: str
) -> None:
    assert problem in found(tmp_path, monkeypatch, GOOD.replace("{line}", line))


def test_a_loop_is_not_planned_anew_in_each_round(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = GOOD.replace("{line}", "FOR n IN 1 .. p_a LOOP PERFORM 1; END LOOP;")
    assert found(tmp_path, monkeypatch, plain) == ""
    anew = plain.replace("plpgsql", f"plpgsql {sql_lint.CUSTOM_PLAN}")
    assert "planned anew in each round" in found(tmp_path, monkeypatch, anew)


def test_the_months_of_one_record_are_found_by_a_kept_plan(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = "PERFORM 1 FROM billing_records AS r WHERE r.month = ANY (usage_record_months(r.id));"
    assert "months of ids" not in found(tmp_path, monkeypatch, GOOD.replace("{line}", line))


def test_what_only_the_release_before_calls_is_not_called(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sql_lint, "_released", lambda: frozenset({"credit_debit_once"}))
    said = found(tmp_path, monkeypatch, GOOD.replace("{line}", "PERFORM credit_debit_once(p_a);"))
    assert "it calls credit_debit_once, which is kept only for the release before" in said


def test_sizes_and_names_are_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = GOOD.replace("{line}", "PERFORM 1;")
    assert found(tmp_path, monkeypatch, plain) == ""
    many = plain.replace("p_a integer", ", ".join(f"p_{n} integer" for n in range(9)))
    assert "9 parameters" in found(tmp_path, monkeypatch, many)
    (tmp_path / "sql" / "probe.sql").unlink()
    assert "it holds probe" in found(tmp_path, monkeypatch, plain, "other")
    (tmp_path / "sql" / "other.sql").unlink()
    assert "a number in its name" in found(tmp_path, monkeypatch, plain, "probe_1_first")
    (tmp_path / "sql" / "probe_1_first.sql").unlink()
    assert "not one object" in found(tmp_path, monkeypatch, plain + plain)
