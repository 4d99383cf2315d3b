from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from aiopt.cli.pine import command
from aiopt.errors import ConfigError, SpecError
from aiopt.strategy.families import FAMILIES
from aiopt.strategy.spec import StrategySpec


def run(*arguments: str) -> Result:
    return CliRunner().invoke(command, list(arguments), catch_exceptions=False)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_emit_writes_script_and_spec_of_a_family(folder: Path) -> None:
    result = run("emit", "ema_cross_atr", "--out", "pine", "--params", "fast_length=9,stop_atr=2", "--json")
    document = json.loads(result.stdout)
    assert document["path"] == str(folder / "pine" / "ema_cross_atr.pine")
    assert document["trades_verified"] is False
    assert Path(document["path"]).read_text() == document["script"]
    assert 'input.int(9, "fast_length"' in document["script"]
    expected = FAMILIES["ema_cross_atr"].spec.with_params({"fast_length": 9, "stop_atr": 2.0})
    assert StrategySpec.from_json(Path(document["spec_path"]).read_text()) == expected
    assert document["spec_hash"] == expected.spec_hash


def test_emit_reads_a_file_and_check_accepts_the_script(folder: Path) -> None:
    Path("mine.yaml").write_text("name: mine\nentry_long: close > open\n")
    result = run("emit", "mine.yaml", "--out", ".", "--name", "renamed", "--version", "5")
    assert "not verified" in result.stdout
    assert Path("renamed.pine").read_text().startswith("//@version=5\n")
    checked = run("check", "renamed.pine", "--json")
    assert checked.exit_code == 0
    assert json.loads(checked.stdout) == {"file": "renamed.pine", "ok": True, "findings": []}


def test_check_of_a_broken_script_fails_and_says_where(folder: Path) -> None:
    run("emit", "ema_cross_atr", "--out", ".")
    path = Path("ema_cross_atr.pine")
    path.write_text(path.read_text().replace("ta.ema(", "ta.emma(", 1))
    result = run("check", str(path), "--json")
    assert result.exit_code == 1
    document = json.loads(result.stdout)
    assert not document["ok"]
    assert [finding["rule"] for finding in document["findings"]] == ["unknown function"]
    human = run("check", str(path))
    assert human.exit_code == 1
    assert "Did you mean 'ta.ema'" in human.stdout


def test_emit_does_not_replace_the_spec_it_reads(folder: Path) -> None:
    text = FAMILIES["ema_cross_atr"].spec.to_json()
    Path("ema_cross_atr.json").write_text(text)
    with pytest.raises(ConfigError, match="the file it is read from"):
        run("emit", "ema_cross_atr.json", "--out", ".")
    assert Path("ema_cross_atr.json").read_text() == text


def test_unknown_family_gets_a_hint(folder: Path) -> None:
    with pytest.raises(SpecError, match="Did you mean 'ema_cross_atr'"):
        run("emit", "ema_cross_at", "--out", ".")


def test_missing_spec_file_is_named(folder: Path) -> None:
    with pytest.raises(SpecError, match=r"no\.yaml"):
        run("emit", "no.yaml", "--out", ".")


@pytest.mark.parametrize("pair", ["fast_length", "=3", "fast_length:3"])
def test_params_that_are_no_pairs_are_refused(folder: Path, pair: str) -> None:
    with pytest.raises(ConfigError, match="NAME=NUMBER"):
        run("emit", "ema_cross_atr", "--out", ".", "--params", pair)


def test_unknown_parameter_gets_a_hint(folder: Path) -> None:
    with pytest.raises(SpecError, match="Did you mean 'fast_length'"):
        run("emit", "ema_cross_atr", "--out", ".", "--params", "fast_lenght=3")


def test_check_of_a_missing_or_binary_file_is_refused(folder: Path) -> None:
    with pytest.raises(ConfigError, match="There is no file"):
        run("check", "no.pine")
    Path("binary.pine").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="is not UTF-8"):
        run("check", "binary.pine")


@pytest.mark.parametrize("arguments", [["--help"], ["emit", "--help"], ["check", "--help"]])
def test_help_has_an_example(arguments: list[str]) -> None:
    assert "Example: aiopt pine" in run(*arguments).stdout
