"""What is said when a rule of treatment `fail` finds something: rule, value, remedy, file and row.

Owns the wording.  Finds nothing itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from aiopt.errors import DataError
from aiopt.market.instrument import Instrument
from aiopt.ticks.checks.sourced import SourcedTicks
from aiopt.ticks.checks.tick_rules import RULES
from aiopt.utc import stamp_text


def tick_error(
    name: str, instrument: Instrument, batch: SourcedTicks, at: int, files: Sequence[Path]
) -> DataError:
    """Return the error for the tick `at` of a batch, which breaks the rule `name`."""
    ticks = batch.ticks
    values = ", ".join(f"{column}={array[at]:g}" for column, array in list(ticks.columns())[1:])
    # `:g` would round a price away; show prices in full.
    values = f"bid={float(ticks.bid[at])!r}, ask={float(ticks.ask[at])!r}, " + values.split(", ", 2)[2]
    if name == "implausible_price":
        low, high = instrument.plausible_low, instrument.plausible_high
        text = f"Prices of {instrument.symbol} must lie in {low:g} … {high:g}, but got"
    else:
        text = f"The rule {name} found {RULES[name].text}:"
    when = stamp_text(int(ticks.ts_event_ns[at]))
    msg = f"{text} {values} at {when}. {RULES[name].remedy.format(name=name)}"
    return DataError(msg, file=_file(int(batch.file[at]), files), row=int(batch.row[at]))


def gap_error(batch: SourcedTicks, at: int, start_ns: int, gap_s: float, files: Sequence[Path]) -> DataError:
    """Return the error for the gap from `start_ns` to the tick `at` of a batch."""
    stop_ns = int(batch.ticks.ts_event_ns[at])
    msg = (
        f"No tick came from {stamp_text(start_ns)} to {stamp_text(stop_ns)}, more than gap_s={gap_s:g} s of "
        f"open market. {RULES['gap'].remedy}"
    )
    return DataError(msg, file=_file(int(batch.file[at]), files), row=int(batch.row[at]))


def _file(number: int, files: Sequence[Path]) -> Path | None:
    return files[number] if number < len(files) else None
