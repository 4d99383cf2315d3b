from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from aiopt.cli.pine import command
from aiopt.errors import ConfigError, SpecError
from aiopt.pine.made_from import without_made_from
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
    assert json.loads(checked.stdout) == {"file": "renamed.pine", "version": 5, "ok": True, "findings": []}


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
    assert "1 error; trades are not compared" in human.stdout


def test_check_of_a_script_of_another_reports_warnings_without_failing(folder: Path) -> None:
    Path("other.pine").write_text(
        '//@version=5\nindicator("t")\nplot(request.security("X", "D", close) > 0 ? volume : na)\n'
    )
    result = run("check", "other.pine")
    assert result.exit_code == 0
    assert "warning: " in result.stdout
    assert "[developing bar]" in result.stdout
    assert "1 warning; trades" in result.stdout


def test_check_reads_a_script_as_another_version(folder: Path) -> None:
    Path("old.pine").write_text('//@version=5\nindicator("t")\nplot(volume ? 1 : 0)\n')
    assert run("check", "old.pine").exit_code == 0
    as_six = run("check", "old.pine", "--version", "6", "--json")
    assert as_six.exit_code == 1
    document = json.loads(as_six.stdout)
    assert document["version"] == 6
    assert [(one["rule"], one["line"], one["column"]) for one in document["findings"]] == [("bool", 3, 6)]


def test_check_writes_sarif(folder: Path) -> None:
    Path("bad.pine").write_text('//@version=6\nindicator("t")\nplot(clsoe)\n')
    result = run("check", "bad.pine", "--sarif")
    assert result.exit_code == 1
    log = json.loads(result.stdout)
    assert log["version"] == "2.1.0"
    (found,) = log["runs"][0]["results"]
    assert found["ruleId"] == "undeclared"
    assert found["level"] == "error"
    assert found["locations"][0]["physicalLocation"]["region"]["startLine"] == 3
    assert log["runs"][0]["tool"]["driver"]["rules"][found["ruleIndex"]]["id"] == "undeclared"


def test_check_prints_one_form_at_a_time(folder: Path) -> None:
    Path("any.pine").write_text('//@version=6\nindicator("t")\nplot(close)\n')
    with pytest.raises(ConfigError, match="Choose one"):
        run("check", "any.pine", "--sarif", "--json")


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


@pytest.mark.parametrize("value", ["nan", "inf", "1e400", "9" * 400, "-1", "0.5"])
def test_a_parameter_that_is_no_length_writes_nothing(folder: Path, value: str) -> None:
    with pytest.raises(SpecError, match="rsi"):
        run("emit", "rsi_reversion", "--out", "pine", "--params", f"rsi_length={value}")
    assert not Path("pine").exists()


@pytest.mark.parametrize("option", ["--leverage", "--initial-balance"])
@pytest.mark.parametrize("value", ["nan", "inf", "0", "-3"])
def test_an_account_that_is_none_writes_nothing(folder: Path, option: str, value: str) -> None:
    with pytest.raises(ConfigError, match="> 0` must hold"):
        run("emit", "rsi_reversion", "--out", "pine", option, value)
    assert not Path("pine").exists()


def test_check_of_a_missing_or_binary_file_is_refused(folder: Path) -> None:
    with pytest.raises(ConfigError, match="There is no file"):
        run("check", "no.pine")
    Path("binary.pine").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="is not UTF-8"):
        run("check", "binary.pine")


@pytest.mark.parametrize("arguments", [["--help"], ["emit", "--help"], ["check", "--help"]])
def test_help_has_an_example(arguments: list[str]) -> None:
    assert "Example: aiopt pine" in run(*arguments).stdout


def test_emit_writes_the_form_that_is_asked_for(folder: Path) -> None:
    result = run("emit", "ema_cross_atr", "--out", "a", "--form", "indicator", "--no-plots", "--json")
    document = json.loads(result.stdout)
    assert document["form"] == "indicator"
    assert 'indicator("ema_cross_atr"' in document["script"]
    costs = ("--no-alerts", "--commission-pct", "0.002", "--slippage-ticks", "2")
    script = json.loads(run("emit", "ema_cross_atr", "--out", "b", *costs, "--json").stdout)["script"]
    assert "commission_value=0.002, slippage=2" in script
    assert "alert" not in without_made_from(script)


def test_inputs_of_a_file_are_limited_to_its_search(folder: Path) -> None:
    mine = (
        "name: mine\nparams: {length: 14}\nindicators: {rsi: {kind: rsi, args: {length: length}}}\n"
        "entry_long: rsi < 30\n"
    )
    Path("mine.yaml").write_text(
        f"{mine}search: {{dimensions: {{length: {{type: int, low: 5, high: 30}}}}}}\n"
    )
    script = json.loads(run("emit", "mine.yaml", "--out", "a", "--json").stdout)["script"]
    assert 'input.int(14, "length", minval=5, maxval=30' in script
    Path("plain.yaml").write_text(mine)
    script = json.loads(run("emit", "plain.yaml", "--out", "b", "--json").stdout)["script"]
    assert 'input.int(14, "length", minval=1, maxval=5000' in script


def test_senseless_costs_write_nothing(folder: Path) -> None:
    with pytest.raises(ConfigError, match="slippage_ticks"):
        run("emit", "ema_cross_atr", "--out", "a", "--slippage-ticks", "-1")
    assert not Path("a").exists()
