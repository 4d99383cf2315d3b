"""The public names of `aiopt` and `cluster`: which there are, what importing them costs, what mypy sees."""

from __future__ import annotations

import importlib
import inspect
import pickle
import re
import subprocess
import sys
import types
from pathlib import Path

import pytest

import aiopt as ao
import cluster

AIOPT = {
    *("__version__", "read_ticks", "sample_ticks", "build_bars", "read_bars", "indicators", "load_spec"),
    *("families", "backtest", "sweep", "rank", "emit_pine", "check_pine", "render_chart", "read_chart"),
    *("report", "run", "Table", "Ticks", "Bars", "Families", "Backtest", "Sweep", "RankedStrategies"),
    *("PineScript", "PineCheck", "Chart", "Reading", "ReportPage", "Run", "StrategySpec", "SearchSpace"),
    *("BacktestConfig", "WalkForwardConfig", "RankingConfig", "ChartSpec", "errors", "StressedEntries"),
    *("ScriptCosts", "ScriptForm"),
}
CLUSTER = {"connect", "build_bars", "sweep", "optimize"}
ROOT = Path(ao.__file__).parents[1]
HEAVY = ("ray", "nautilus_trader", "polars", "pandas", "pyarrow", "numpy", "numba", "scipy", "msgspec")


def test_public_names_are_pinned() -> None:
    assert set(ao.__all__) == AIOPT
    assert set(cluster.__all__) == CLUSTER
    assert len(ao.__all__) == len(AIOPT), "a name stands twice in __all__"


@pytest.mark.parametrize("package", [ao, cluster], ids=["aiopt", "cluster"])
def test_every_public_name_can_be_imported_and_is_listed_by_dir(package: types.ModuleType) -> None:
    for name in package.__all__:
        assert getattr(package, name) is not None
        assert name in dir(package)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'aiopt' has no attribute 'read_tics'"):
        _ = ao.read_tics


@pytest.mark.parametrize("package", ["aiopt", "cluster"])
def test_importing_costs_nothing(package: str) -> None:
    script = (
        f"import sys, {package}\n"
        f"assert not {{name.partition('.')[0] for name in sys.modules}} & set({HEAVY!r}), sorted(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


@pytest.mark.parametrize("name", ["backtest", "sweep", "report"])
def test_a_package_with_the_name_of_a_function_is_both(name: str) -> None:
    found = getattr(ao, name)
    assert found is sys.modules[f"aiopt.{name}"], "the import system's own module"
    home = importlib.import_module(f"aiopt.face.{name}")
    assert inspect.signature(found) == inspect.signature(getattr(home, name))
    assert inspect.getdoc(found).startswith(inspect.getdoc(getattr(home, name)).splitlines()[0])


def test_modules_below_such_a_package_are_reached_as_ever() -> None:
    import aiopt.report.svg as by_name
    from aiopt.backtest import backtest_config

    assert by_name is sys.modules["aiopt.report.svg"]
    assert ao.backtest.backtest_config is backtest_config


def test_the_indicators_package_is_reached_as_ever() -> None:
    import aiopt.indicators.averages as by_name
    from aiopt.indicators import rsi

    assert by_name is sys.modules["aiopt.indicators.averages"]
    assert rsi.__module__ == "aiopt.indicators.oscillators"
    assert ao.indicators.INDICATORS is sys.modules["aiopt.indicators"].INDICATORS
    with pytest.raises(AttributeError, match=r"module 'aiopt\.indicators' has no attribute 'rsy'"):
        _ = ao.indicators.rsy


def test_the_package_pickles_by_name() -> None:
    assert pickle.loads(pickle.dumps(ao)) is ao
    cloudpickle = pytest.importorskip("ray.cloudpickle")
    assert cloudpickle.loads(cloudpickle.dumps(ao)) is ao


@pytest.mark.parametrize("package", ["aiopt", "cluster"])
def test_the_packages_say_that_they_are_typed(package: str) -> None:
    assert (ROOT / package / "py.typed").is_file()


USER_SCRIPT = """
from __future__ import annotations

import polars as pl

import aiopt as ao
from aiopt import Backtest, Bars

ticks = ao.read_ticks("ticks", instrument="EURUSD")
bars: Bars = ao.build_bars(ticks, "5m", price="mid", engine="local")
several: dict[str, Bars] = ao.build_bars(ticks, ["1m", "5m"])
values = ao.indicators.macd(bars, fast=8)["signal"]
spec = ao.load_spec("rsi_reversion", rsi_length=10)
tested: Backtest = ao.backtest(spec, bars, mode="parity", leverage=20.0)
frame: pl.DataFrame = tested.trades.to_polars()
ranked = ao.rank(ao.sweep([spec, "ema_cross_atr"], several, trials=10), min_oos_trades=3)
script = ao.emit_pine(ranked.spec(1))
ok: bool = ao.check_pine(script).ok
png: bytes = ao.render_chart(tested, ["ema:length=50"]).png
bias: str = ao.read_chart(bars).bias
best = ao.run("runs/x").ranking.entries[0].score
"""
WRONG = (
    ('ao.build_bars("ticks", "5m", price="middle")', "No overload variant"),
    ('ao.backtest("rsi_reversion", "bars", laverage=20.0)', "laverage"),
    ('ao.rank(ao.sweep("rsi_reversion", "bars"), topp=1)', "topp"),
    ("ao.indicators.rsi(3)", "incompatible type"),
)


@pytest.mark.unmeasured
def test_mypy_sees_the_types_of_a_users_script(tmp_path: Path) -> None:
    good, bad = tmp_path / "good.py", tmp_path / "bad.py"
    good.write_text(USER_SCRIPT)
    bad.write_text("import aiopt as ao\n" + "".join(f"{line}\n" for line, _ in WRONG))
    # With the settings and the cache of `make types`, which has read aiopt already.
    run = subprocess.run(
        [sys.executable, "-m", "mypy", good, bad],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )
    lines = run.stdout.splitlines()
    assert not [line for line in lines if "good.py" in line], run.stdout
    for number, (_, words) in enumerate(WRONG, start=2):
        found = [line for line in lines if f"bad.py:{number}:" in line]
        assert found, f"mypy says nothing of {WRONG[number - 2][0]}: {run.stdout}{run.stderr}"
        assert any(words in line for line in found), found


def test_the_page_on_python_names_what_there_is() -> None:
    page = (ROOT / "docs" / "how-to" / "python.md").read_text(encoding="utf-8")
    named = set(re.findall(r"\bao\.([a-z_]+)", page))
    assert {"read_ticks", "build_bars", "backtest", "rank"} <= named <= set(ao.__all__)
    assert set(re.findall(r"\bcluster\.([a-z_]+)", page)) <= set(cluster.__all__)
    table = page.split("## What there is", 1)[1].split("\n## ", 1)[0]
    calls = {
        name
        for row in re.findall(r"^\| (`.*?) \|", table, flags=re.MULTILINE)
        for name in re.findall(r"`([a-z_]+)[`(]", row)
    }
    functions = {name for name in ao.__all__ if name[0].islower()} - {"indicators", "errors"}
    assert functions <= calls


def test_the_export_of_the_page_on_python_runs() -> None:
    page = (ROOT / "docs" / "how-to" / "python.md").read_text(encoding="utf-8")
    block = page.split("## Take it elsewhere", 1)[1].split("```python\n", 1)[1].split("```", 1)[0]
    names: dict[str, object] = {}
    exec(block, names)
    assert len(names["hourly"]) == 24
    assert names["rsi"].columns == ["ts_open", "value"]
