"""The command `aiopt ticks`: documents on stdout, exit codes, messages."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from aiopt.cli.ticks import command
from aiopt.errors import ConfigError, DataError
from aiopt.ticks.manifest import read_manifest


def run(*arguments: object) -> Result:
    return CliRunner().invoke(command, [str(argument) for argument in arguments], standalone_mode=False)


def document(*arguments: object) -> dict[str, Any]:
    result = run(*arguments, "--json")
    assert result.exception is None, result.exception
    assert result.stdout.count("\n") == 1
    return json.loads(result.stdout)


@pytest.fixture
def csv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "EURUSD" / "ticks.csv"
    path.parent.mkdir()
    lines = [f"2024-05-06T10:00:{second:02d},1.1,1.1001" for second in range(60)]
    lines[7] = "2024-05-06T10:00:07,1.1001,1.1"
    path.write_text("time,bid,ask\n" + "\n".join(lines) + "\n")
    return path


def test_import_prints_one_document(tmp_path: Path, csv: Path) -> None:
    found = document("import", csv, "--out", tmp_path / "store")
    assert (found["rows"], found["rows_read"], found["format"], found["synthetic"]) == (59, 60, "csv", False)
    crossed = next(rule for rule in found["rules"] if rule["rule"] == "crossed")
    assert (crossed["treatment"], crossed["found"], crossed["share"]) == ("drop", 1, 1 / 60)
    assert (crossed["dropped"], crossed["fixed"]) == (1, 0)
    assert found["data_hash"] == read_manifest(tmp_path / "store").data_hash
    assert document("import", csv, "--out", tmp_path / "store") == found


def test_import_for_people_names_store_and_counts(tmp_path: Path, csv: Path) -> None:
    result = run("import", csv, "--out", tmp_path / "store")
    assert "59 ticks of EURUSD on 1 days" in result.stdout
    assert "crossed" in result.stdout
    assert "1.667%" in result.stdout
    assert "importing ticks: 100%" in result.stderr


def test_validate_fails_with_2_when_a_fail_rule_fires(csv: Path) -> None:
    assert run("validate", csv).return_value == 0
    page = csv.with_name("quality.html")
    assert str(page) in run("validate", csv, "--html", page).stdout
    assert page.read_text().startswith("<!DOCTYPE html>")
    result = run("validate", csv, "--rule", "crossed=fail", "--json")
    found = json.loads(result.stdout)
    assert result.return_value == 2
    assert found["ok"] is False
    assert "row 7: The rule crossed found ask below bid" in found["failures"][0]
    (worst,) = found["worst_hours"]
    assert (worst["hour"], worst["found"], worst["rules"]) == ("2024-05-06T10", 1, {"crossed": 1})
    place = worst["places"][0]
    assert (place["rule"], place["file"], place["row"]) == ("crossed", str(csv), 7)
    assert (place["bid"], place["ask"]) == (1.1001, 1.1)


def test_validate_compares_a_store_with_its_manifest(tmp_path: Path, csv: Path) -> None:
    out = tmp_path / "store"
    document("import", csv, "--out", out)
    found = document("validate", out)
    assert (found["ok"], found["format"], found["rows_kept"]) == (True, "store", 59)
    next(out.rglob("*.parquet")).write_bytes(b"spoilt")
    result = run("validate", out)
    assert result.return_value == 2
    assert "is not the file that was imported" in result.stdout


def test_sample_is_synthetic_in_both_outputs(tmp_path: Path) -> None:
    arguments = ("sample", "--out", tmp_path / "s", "--days", 1, "--ticks-per-day", 2_000)
    assert document(*arguments)["synthetic"] is True
    assert "synthetic ticks of EURUSD" in run(*arguments).stdout


def test_rules_lists_every_rule() -> None:
    from aiopt.ticks.checks.validation import RULES

    assert [row["rule"] for row in document("rules")["rules"]] == list(RULES)
    assert "crossed" in run("rules").stdout


def test_bad_input_is_raised_for_the_root_to_map(tmp_path: Path, csv: Path) -> None:
    result = run("import", tmp_path / "nothing", "--out", tmp_path / "store")
    assert isinstance(result.exception, DataError)
    assert result.exception.exit_code == 2
    assert isinstance(run("import", csv, "--out", tmp_path, "--rule", "x=y").exception, ConfigError)
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize("name", ["import", "validate", "sample", "rules"])
def test_every_command_shows_an_example(name: str) -> None:
    assert f"Example: aiopt ticks {name}" in run(name, "--help").stdout
