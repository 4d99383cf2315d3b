"""Every table of every command, at 80 columns: no line is longer, no cell is cut."""

from __future__ import annotations

import io
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from rich.table import Table

from aiopt.featurelog import FeatureLog
from aiopt.serving.backend import EngineInfo, ModelCard, Operation, ServingStatus
from aiopt.testing.bars import random_walk_bar_set, write_bar_file
from aiopt.testing.run_folder import RunModel, write_run_folder
from cluster.cli import main as cli
from cluster.cli import model

ROOT = Path(__file__).resolve().parents[3]
LONG = "a_strategy_of_a_long_name"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Bars, a run, a log and two backtests, below a folder whose path is longer than a line."""
    root = tmp_path_factory.mktemp("a_folder_with_a_name_that_nobody_would_call_short" * 2)
    bars = random_walk_bar_set(1_500, seed=4)
    for side in ("bid", "ask"):
        write_bar_file(getattr(bars, side), root / "bars" / f"{side}.parquet")
    families = ("rsi_reversion", "bollinger_breakout")
    write_run_folder(
        root / "runs" / LONG, RunModel(families=families, timeframes=("5m",), trials=14, days=21)
    )
    with FeatureLog(root / "log") as log:
        for row in range(3):
            log.append("signals_of_a_strategy", {"bar": row, "value": row / 3, "what": "some words " * 9})
    ticks = (*("--out", root / "ticks", "--start", "2024-03-04"), *("--days", "1", "--ticks-per-day", "4000"))
    assert cli.run(["ticks", "sample", *map(str, ticks), "--json"]) == 0
    crossed = "\n".join(
        f"2024-05-06 10:00:{second:02}.000,1.1000{second % 10},{1.1 if second == 7 else 1.1002}"
        for second in range(60)
    )
    (root / "crossed.csv").write_text(f"ts,bid,ask\n{crossed}\n")
    sets = ("--bars", root / "bars", "--out", root / "set", "--horizons", "6,12")
    assert cli.run(["dataset", "build", *map(str, sets), "--json"]) == 0
    for name, length in (("first", 9), ("second", 14)):
        arguments = ["backtest", "rsi_reversion", "--bars", root / "bars", "--params", f"rsi_length={length}"]
        assert cli.run([*map(str, arguments), "--out", str(root / f"{name}.json"), "--json"]) == 0
    return root


@pytest.fixture
def tables(monkeypatch: pytest.MonkeyPatch) -> list[Table]:
    """Set 80 columns and collect the tables that are printed."""
    monkeypatch.setenv("COLUMNS", "80")
    found: list[Table] = []
    plain = Console.print

    def printing(self: Console, *things: Any, **options: Any) -> None:
        found.extend(thing for thing in things if isinstance(thing, Table))
        plain(self, *things, **options)

    monkeypatch.setattr(Console, "print", printing)
    return found


def check(tables: list[Table], out: str) -> None:
    """Hold printed tables against their cells: every character is there, no more, and no line is too long."""
    assert tables
    # A long word beside its name (a path, a hash) stays in one piece, so that it can be copied.
    assert max(len(line) for line in out.splitlines() if len((line.split() or [""])[-1]) < 50) <= 80
    for table in tuple(tables):  # printing one adds to the list
        stream = io.StringIO()
        Console(file=stream, width=80).print(table)
        wanted = []
        for column in table.columns:
            wanted += [*([column.header] if table.show_header else []), *column.cells]
        cells = "".join("".join(str(cell).split()) for cell in wanted)
        assert Counter("".join(stream.getvalue().split())) == Counter(cells)


COMMANDS = (
    "specs list",
    "indicators list",
    "indicators compute --bars {root}/bars --kind dmi",
    "ticks rules",
    "backtest ema_cross_atr --bars {root}/bars",
    "compare {root}/first.json {root}/second.json",
    "runs list --runs-dir {root}/runs",
    "runs show {root}/runs/" + LONG,
    "trials show rsi_reversion@5m-00003 --run {root}/runs/" + LONG,
    "trials list --run {root}/runs/" + LONG,
    "trials list --failed --run {root}/runs/" + LONG,
    "data list {root}",
    "data show {root}/runs/" + LONG,
    "bars show {root}/bars/bid.parquet",
    "dataset logs list {root}/log",
    "dataset logs show {root}/log signals_of_a_strategy",
    "analyst eval --cases 9",
    "bars build --ticks {root}/ticks --out {root}/built --timeframes 1m,5m --price all",
    "dataset show {root}/set",
    "ticks validate {root}/crossed.csv --instrument EURUSD",
    "ticks spread-model {root}/ticks --out {root}/spread.yaml --by hour_of_week",
)


@pytest.mark.parametrize("line", COMMANDS, ids=lambda line: "_".join(line.split()[:2]))
def test_no_cell_is_cut(
    line: str, place: Path, tables: list[Table], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run([part.format(root=place) for part in line.split()]) == 0
    out = capsys.readouterr().out
    # Sentences with a path in one piece are for the clipboard; tables are what is judged here.
    check(tables, "\n".join(part for part in out.splitlines() if str(place) not in part))


def test_tables_of_what_is_served_fit(tables: list[Table], capsys: pytest.CaptureFixture[str]) -> None:
    card = ModelCard(
        name="minicpm-with-a-long-name",
        aliases=("vision", "charts-of-eurusd"),
        model_id="openbmb/MiniCPM-V-4_6-of-today",
        revision="0123456789abcdef",
        architecture="MiniCPMVForConditionalGeneration",
        images=True,
        max_context_tokens=40_960,
        created=1_700_000_000,
    )
    engine = EngineInfo(
        engine_id="aiopt-engine-0123456789abcdef",
        slot=card.name,
        model_id=card.model_id,
        revision=card.revision,
        role="previous",
        in_flight=1_024,
        restarts=12,
    )
    refused = Operation(
        operation_id="0123456789abcdef0123456789abcdef",
        kind="rollback",
        slot=card.name,
        checkpoint="/models/of_everybody/openbmb_MiniCPM-V-4_6-of-today",
        state="refused",
        phase="verify",
        message="The engine answers a probe as it should not: 'up' where 'down' was expected. " * 3,
    )
    status = ServingStatus(cards=(card,), engines=(engine,), operations=(refused, refused))
    console = Console(width=80)
    model._print_models(console, status)
    model._print_engines(console, status)
    model._print_operations(console, status.operations)
    out = capsys.readouterr().out
    check(tables, out)
    squeezed = "".join(out.split())
    for cell in (engine.engine_id, refused.operation_id, refused.checkpoint, "1024"):
        assert cell in squeezed


def test_one_place_makes_tables() -> None:
    for folder in ("aiopt/cli", "cluster/cli"):
        for path in (ROOT / folder).glob("*.py"):
            if path.name != "output.py":
                assert "rich.table" not in path.read_text(), f"{path}: use print_table or print_pairs"


def test_money_trades_and_ratios_have_one_name_in_all_tables() -> None:
    other = {
        "profit",
        "net profit",
        "net P&L",
        "pnl",
        "profits",
        "deals",
        "sharpe",
        "drawdown",
        "max drawdown (%)",
    }
    for folder in ("aiopt/cli", "cluster/cli"):
        for path in (ROOT / folder).glob("*.py"):
            named = set(re.findall(r'(?:number|text|Column)\("([^"]+)"', path.read_text()))
            assert not named & other, f"{path}: say P&L, trades, Sharpe, max DD"


def test_the_same_thing_has_the_same_name_in_the_ranking_of_a_run_and_of_optimize() -> None:
    from aiopt.optimize.summary import COLUMNS

    source = (ROOT / "aiopt" / "cli" / "runs.py").read_text()
    named = set(
        re.findall(r'(?:number|text)\("([^"]+)"\)', source.split("def _print(")[1].split("LEGEND")[0])
    )
    assert {"strategy", "score", "OOS P&L", "OOS Sharpe", "trades", "holdout", "verdict"} <= named & set(
        COLUMNS
    )
