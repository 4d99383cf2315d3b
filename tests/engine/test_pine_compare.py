"""``aiopt pine compare`` on a list with partial exits: the trades of a script in TradingView's layout.

The list is made of what the Pine engine booked, one numbered trade per part, as TradingView lists them.
"""

from __future__ import annotations

import datetime as dt
import json
from collections import Counter
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner

from aiopt.cli.pine import command
from aiopt.market.instrument import instrument
from aiopt.pine.emitter import emit
from aiopt.pine.provenance import Provenance
from aiopt.strategy.spec import FixedSize, StrategySpec
from aiopt.testing.bars import random_walk_bars
from aiopt.testing.random_specs import random_spec
from aiopt.verification.pine_runs import PineTrade
from tests.engine.test_exits import parity_result

pytestmark = pytest.mark.slow

EURUSD = instrument("EURUSD")
HEADING = (
    "\ufeffTrade number,Type,Date and time,Signal,Price USD,Size (qty),Size (value),Net PnL USD,Return %\n"
)
BARS = random_walk_bars(1000, seed=3)
WANTED = 60


def with_parts() -> StrategySpec:
    """Return a spec of which many positions are left in parts."""
    for seed in range(40):
        spec = msgspec.structs.replace(random_spec(seed, targets=True), size=FixedSize(units=9_000))
        entries = Counter(trade.entry_bar for trade in parity_result(spec, BARS).trades)
        if sum(count > 1 for count in entries.values()) > WANTED:
            return spec
    raise AssertionError("no spec has enough partial exits")


def row(number: int, kind: str, side: str, bar: int, signal: str | None, price: float, size: float) -> str:
    at = dt.datetime.fromtimestamp(BARS.ts_open_ns[bar] / 1e9, dt.UTC)
    cells = f"{at:%Y-%m-%d %H:%M},{signal or ''},{price:.5f},{size:.10g},{price * size:.2f},,"
    return f"{number},{kind} {side},{cells}\n"


def listed(trades: list[PineTrade]) -> str:
    """Return the list, the latest trade first and its exit above its entry."""
    lines = []
    for number, one in enumerate(trades, start=1):
        lines.append(row(number, "Entry", one.side, one.entry_bar, one.entry_id, one.entry_price, one.size))
        if one.exit_bar is None:
            lines.append(f"{number},Exit {one.side},,Open,,{one.size:.10g},,,\n")
        else:
            signal = one.exit_comment or one.exit_id
            lines.append(row(number, "Exit", one.side, one.exit_bar, signal, one.exit_price, one.size))
    return HEADING + "".join(reversed(lines))


def compared(export: Path, ours: Path) -> dict:
    done = CliRunner().invoke(command, ["compare", str(export), str(ours), "--timezone", "UTC", "--json"])
    assert done.exit_code in (0, 1), done.output
    return json.loads(done.stdout)


def test_every_part_of_a_position_is_compared(pine, tmp_path: Path) -> None:
    spec = with_parts()
    run = pine.run(emit(spec, provenance=Provenance(), instrument=EURUSD), BARS)
    result = parity_result(spec, BARS)
    ours = tmp_path / "ours.json"
    document = {"trades": result.trades, "config": {"mode": "parity"}, "bars": {"instrument": "EURUSD"}}
    ours.write_bytes(msgspec.json.encode(document))
    export = tmp_path / "list.csv"
    export.write_text(listed([*run.closed, *run.open]), encoding="utf-8")
    found = compared(export, ours)
    assert found["agrees"], found["first"]
    assert found["equal"] == found["ours"] == len(result.trades) - found["outside"] // 2
    assert found["open_trades"] == len(run.open)

    # TradingView may list parts that end in one bar in another order than ours.
    export.write_text(listed([*reversed(run.closed), *run.open]), encoding="utf-8")
    assert compared(export, ours)["agrees"]

    # One part of another size, and one that is not there, are told with their number.
    entries = Counter(trade.entry_bar for trade in run.closed)
    place = next(place for place, one in enumerate(run.closed) if place > 4 and entries[one.entry_bar] > 1)
    changed = list(run.closed)
    changed[place] = PineTrade(**{**vars(run.closed[place]), "size": run.closed[place].size + 1})
    export.write_text(listed(changed), encoding="utf-8")
    assert compared(export, ours)["first"] == f"trade {place + 1} differs: its size is another"
    export.write_text(listed(run.closed[:place] + run.closed[place + 1 :]), encoding="utf-8")
    absent = compared(export, ours)
    assert absent["first"] == "a trade of ours is not in TradingView's list"
    (missing,) = absent["missing"]
    assert (missing["entry_ts_ns"], missing["size"]) == (
        int(BARS.ts_open_ns[run.closed[place].entry_bar]),
        run.closed[place].size,
    )
