"""Add what the Pine engine computes for an indicator kind to the golden file of tests/unit/indicators.

usage: python -m tests.pine_engine.golden KIND     (from the repository; needs Node)
"""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path

import numpy as np

from aiopt.bars.schema import BarArrays
from aiopt.indicators import INDICATORS
from aiopt.pine.indicators import write_indicator
from aiopt.pine.text import Names
from aiopt.timeframe import parse_timeframe
from tests.pine_engine.engine import PineScripts, pine_engine

COLUMNS = ("open", "high", "low", "close", "volume")

GOLDEN = Path(__file__).resolve().parents[1] / "unit" / "indicators" / "golden_pine_engine.json"


def golden_outputs(
    kind: str, golden: dict[str, list[float]], engine: PineScripts
) -> dict[str, list[float | None]]:
    """Return ``kind.output`` → one value per bar of the golden file, None before the first.

    The kind is run with its default arguments, as this project writes it in Pine.
    """
    definition = INDICATORS[kind]
    args = {name: str(value) for name, value in definition.defaults().items()}
    written = write_indicator(kind, identifier="golden", source="close", args=args, names=Names())
    plots = {f"{kind}.{output}": variable for output, variable in written.outputs.items()}
    lines = ["//@version=6", 'strategy("golden", overlay=true)', *written.lines]
    lines += [f'plot({variable}, "{title}")' for title, variable in plots.items()]
    run = engine.run("\n".join(lines) + "\n", bars_of(golden), plots=list(plots))
    return {
        title: [None if math.isnan(value) else float(value) for value in run.plots[title]] for title in plots
    }


def bars_of(golden: dict[str, list[float]]) -> BarArrays:
    """Return the bars of the golden file."""
    open_, high, low, close, volume = (np.array(golden[name]) for name in COLUMNS)
    timeframe = parse_timeframe("5m")
    return BarArrays(
        instrument="EURUSD",
        timeframe=timeframe,
        price="bid",
        ts_open_ns=np.arange(len(close), dtype=np.int64) * timeframe.ns,
        open=open_,
        high=high,
        low=low,
        close=close,
        volume=volume,
        data_hash="golden",
    )


def main() -> None:
    (kind,) = sys.argv[1:]
    golden = json.loads(GOLDEN.read_text(encoding="utf-8"))
    golden["outputs"].update(golden_outputs(kind, golden, pine_engine()))
    rows = [_row(name, value) for name, value in golden.items() if name != "outputs"]
    outputs = ",\n".join(_row(name, value) for name, value in golden["outputs"].items())
    text = ",\n".join([*rows, f'"outputs": {{\n{outputs}\n}}'])
    GOLDEN.write_text(f"{{\n{text}\n}}\n", encoding="utf-8")


def _row(name: str, value: object) -> str:
    return f"{json.dumps(name)}: {json.dumps(value)}"


if __name__ == "__main__":
    main()
