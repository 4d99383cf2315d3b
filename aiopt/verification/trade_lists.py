"""Compare TradingView's list of trades with the trades of a run: matched, missing, extra, prices in ticks.

Owns how trades are matched and what is told.  Reading the export is `aiopt.verification.tradingview`'s.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec
import polars as pl

from aiopt.errors import ConfigError, DataError, did_you_mean
from aiopt.market.instrument import instrument
from aiopt.runs import PINE, is_run, load_run, read_json
from aiopt.utc import MINUTE_NS, time_text
from aiopt.verification.tradingview import ListedTrade

QUARTER_NS = 15 * MINUTE_NS

CONTEXT = 2
"""Trades shown before and after the first difference."""


class OurTrade(msgspec.Struct, frozen=True, kw_only=True):
    """What is needed of a trade of ours; times are the opening times of its bars, UTC."""

    side: Literal["long", "short"]
    entry_ts_ns: int
    entry_price: float
    exit_ts_ns: int
    exit_price: float
    size: float

    def __post_init__(self) -> None:
        for name in ("entry_price", "exit_price", "size"):
            value = getattr(self, name)
            if not 0 < value < math.inf:
                raise ValueError(f"{name} must be a positive number, but is {value}")


class Pair(msgspec.Struct, frozen=True, kw_only=True):
    """A trade both have: same side, same bar of entry.

    Attributes
    ----------
    number : int
        In TradingView's list.
    entry_ticks, exit_ticks : int
        TradingView's price minus ours, in ticks.
    same_exit : bool
        Both left in the same bar.
    same_size : bool
        Both traded as much, or the list does not say.
    """

    number: int
    entry_ticks: int
    exit_ticks: int
    same_exit: bool
    same_size: bool

    @property
    def equal(self) -> bool:
        """Nothing differs."""
        return self.entry_ticks == 0 and self.exit_ticks == 0 and self.same_exit and self.same_size


class ListComparison(msgspec.Struct, frozen=True, kw_only=True):
    """What came of comparing a list with trades of ours, where both cover the time.

    Attributes
    ----------
    listed, ours : int
        Closed trades compared.
    outside : int
        Trades of either side outside the stretch that both cover.
    open_trades : int
        Trades that TradingView still holds; they are not compared.
    pairs : list of Pair
        Trades that both have.
    missing, extra : list of dict
        Trades of ours that TradingView has not, and the other way round.
    first : str
        The first difference in words; empty where there is none.
    context : list of str
        The trades around it, TradingView's and ours.
    """

    listed: int
    ours: int
    outside: int
    open_trades: int
    pairs: list[Pair]
    missing: list[dict[str, Any]]
    extra: list[dict[str, Any]]
    first: str
    context: list[str]

    @property
    def agrees(self) -> bool:
        """Every trade is the same, and there is at least one."""
        return bool(self.pairs) and not self.first


def trades_of(path: Path, entry: str | None) -> tuple[list[OurTrade], float | None, str]:
    """Return trades of ours, the tick of their prices, and how they are called.

    Parameters
    ----------
    path : Path
        A run folder (the trades a chart of its bars should show), ``NAME.trades.json`` of one, the JSON of
        ``aiopt backtest --mode parity --out``, or a CSV with the columns of `OurTrade`.
    entry : str, optional
        Which entry of a run.

    Raises
    ------
    ConfigError
        If there is no such file, or a run has several entries and none was named.
    DataError
        If the file holds no trades.
    """
    if path.is_dir() and is_run(path):
        return _of_run(path, entry)
    if path.is_dir():
        raise ConfigError(f"{path} is a folder, but no run folder. Give a run, or a file of trades.")
    if not path.is_file():
        raise ConfigError(f"There is no run folder or file {path}. Check the path.")
    if path.suffix == ".csv":
        return _of_table(path), None, path.name
    document = read_json(path, dict[str, Any])
    config = document.get("config")
    if isinstance(config, dict) and config.get("mode") != "parity":
        msg = "The backtest has spread and costs, and a chart has none. Run it with --mode parity."
        raise DataError(msg, file=path)
    return _of_document(document, path), _tick_of(document), path.name


def compare_lists(listed: Sequence[ListedTrade], ours: Sequence[OurTrade], *, tick: float) -> ListComparison:
    """Match trades by side and bar of entry, and say what differs.

    Parameters
    ----------
    listed : sequence of ListedTrade
        TradingView's.
    ours : sequence of OurTrade
        The backtest's, closed.
    tick : float
        Price step in which differences are counted.
    """
    closed = [trade for trade in listed if trade.exit_ts_ns is not None]
    start, stop = _common(closed, ours)
    theirs = [trade for trade in closed if start <= trade.entry_ts_ns <= stop]
    mine = [trade for trade in ours if start <= trade.entry_ts_ns <= stop]
    waiting: dict[tuple[str, int], list[OurTrade]] = {}
    for trade in mine:
        waiting.setdefault((trade.side, trade.entry_ts_ns), []).append(trade)
    pairs, extra = [], []
    differences: list[tuple[int, str]] = []
    entered: dict[tuple[str, int], list[ListedTrade]] = {}
    for one in sorted(theirs, key=lambda trade: (trade.entry_ts_ns, trade.number)):
        entered.setdefault((one.side, one.entry_ts_ns), []).append(one)
    for key, parts in entered.items():
        found, alone = _matched(parts, waiting.get(key, []), tick)
        pairs += found
        for pair in found:
            if not pair.equal:
                differences.append((key[1], f"trade {pair.number} differs: {_how(pair)}"))
        for one in alone:
            extra.append(_told(one))
            differences.append((key[1], f"TradingView's trade {one.number} is not among ours"))
    left = [trade for trades in waiting.values() for trade in trades]
    for trade in left:
        differences.append((trade.entry_ts_ns, "a trade of ours is not in TradingView's list"))
    at, first = min(differences, default=(0, ""))
    return ListComparison(
        listed=len(theirs),
        ours=len(mine),
        outside=len(closed) - len(theirs) + len(ours) - len(mine),
        open_trades=len(listed) - len(closed),
        pairs=pairs,
        missing=[_told(trade) for trade in sorted(left, key=lambda trade: trade.entry_ts_ns)],
        extra=extra,
        first=first,
        context=[] if not first else _context(theirs, mine, at),
    )


def _matched(
    theirs: Sequence[ListedTrade], ours: list[OurTrade], tick: float
) -> tuple[list[Pair], list[ListedTrade]]:
    """Match trades of one side and bar of entry, taking what is matched out of ours.

    A position that is left in parts is as many trades, and those that end in one bar may be listed in another
    order than ours: equal ones belong together first, then those with the same exit, then what is left.
    """
    pairs: dict[int, Pair] = {}
    for is_match in (lambda pair: pair.equal, lambda pair: pair.same_exit, lambda pair: True):
        for one in theirs:
            if one.number in pairs:
                continue
            for place, other in enumerate(ours):
                pair = _pair(one, other, tick)
                if is_match(pair):
                    pairs[one.number] = pair
                    del ours[place]
                    break
    return [pairs[number] for number in sorted(pairs)], [one for one in theirs if one.number not in pairs]


def _common(listed: Sequence[ListedTrade], ours: Sequence[OurTrade]) -> tuple[int, int]:
    """Return the stretch of entry times that both lists cover."""
    if not listed or not ours:
        return 0, 2**63 - 1
    spans = [sorted(trade.entry_ts_ns for trade in trades) for trades in (listed, ours)]
    return max(span[0] for span in spans), min(span[-1] for span in spans)


def shift_of(listed: Sequence[ListedTrade], ours: Sequence[OurTrade]) -> float | None:
    """Return the hours by which TradingView's entries are all late, where they are alike but for that.

    None where no entry has its twin, or where nothing is shifted.
    """
    theirs = {(trade.side, trade.entry_ts_ns) for trade in listed}
    mine = [(trade.side, trade.entry_ts_ns) for trade in ours]
    steps = range(-14 * 4, 14 * 4 + 1)
    found = {step: sum((side, at + step * QUARTER_NS) in theirs for side, at in mine) for step in steps}
    best = max(found, key=lambda step: (found[step], -abs(step)))
    if best == 0 or found[best] < max(2, 0.8 * min(len(theirs), len(mine))):
        return None
    return best / 4


def _pair(one: ListedTrade, other: OurTrade, tick: float) -> Pair:
    assert one.exit_price is not None
    return Pair(
        number=one.number,
        entry_ticks=round((one.entry_price - other.entry_price) / tick),
        exit_ticks=round((one.exit_price - other.exit_price) / tick),
        same_exit=one.exit_ts_ns == other.exit_ts_ns,
        same_size=one.size is None or abs(one.size - other.size) < 1e-6 * max(1.0, other.size),
    )


def _how(pair: Pair) -> str:
    parts = [] if pair.same_exit else ["it ends in another bar"]
    for name, ticks in (("entry", pair.entry_ticks), ("exit", pair.exit_ticks)):
        if ticks:
            parts.append(f"its {name} is {abs(ticks)} tick(s) {'above' if ticks > 0 else 'below'} ours")
    if not pair.same_size:
        parts.append("its size is another")
    return ", ".join(parts)


def _told(trade: ListedTrade | OurTrade) -> dict[str, Any]:
    names = ("side", "entry_ts_ns", "entry_price", "exit_ts_ns", "exit_price", "size")
    found = {name: getattr(trade, name) for name in names}
    return {"number": trade.number, **found} if isinstance(trade, ListedTrade) else found


def _context(theirs: Sequence[ListedTrade], ours: Sequence[OurTrade], at: int) -> list[str]:
    lines = []
    both: dict[str, Sequence[ListedTrade | OurTrade]] = {"TradingView": theirs, "ours": ours}
    for name, trades in both.items():
        ordered = sorted(trades, key=lambda trade: trade.entry_ts_ns)
        place = sum(trade.entry_ts_ns < at for trade in ordered)
        for trade in ordered[max(0, place - CONTEXT) : place + CONTEXT + 1]:
            mark = ">" if trade.entry_ts_ns == at else " "
            until = "open" if trade.exit_ts_ns is None else time_text(trade.exit_ts_ns)
            lines.append(
                f"{mark} {name:<11} {trade.side:<5} {time_text(trade.entry_ts_ns)} at "
                f"{trade.entry_price:.10g} "
                f"to {until} at {trade.exit_price:.10g}, size {trade.size:.10g}"
            )
    return lines


def _of_run(path: Path, entry: str | None) -> tuple[list[OurTrade], float | None, str]:
    names = [one.name for one in load_run(path).entries]
    if entry is None and len(names) != 1:
        listed = ", ".join(names) or "none"
        raise ConfigError(f"{path} has {len(names)} entries ({listed}). Name one with --entry.")
    if entry is not None and entry not in names:
        raise ConfigError(f"{path} has no entry {entry!r}.{did_you_mean(entry, names)}")
    name = names[0] if entry is None else entry
    file = path / PINE / f"{name}.trades.json"
    if not file.is_file():
        raise ConfigError(f"{file} is missing: the run did not finish. Run it again.")
    document = read_json(file, dict[str, Any])
    return _of_document(document, file), _tick_of(document), name


def _of_document(document: dict[str, Any], path: Path) -> list[OurTrade]:
    try:
        return msgspec.convert(document["trades"], list[OurTrade])
    except (KeyError, msgspec.ValidationError) as error:
        msg = f"The file holds no trades ({error}). Give a run or the JSON of `aiopt backtest --out`."
        raise DataError(msg, file=path) from error


def _tick_of(document: dict[str, Any]) -> float | None:
    """Return the tick of the instrument that a document names, if it does."""
    bars = document.get("bars")
    symbol = bars.get("instrument") if isinstance(bars, dict) else None
    if isinstance(bars, str):
        symbol = Path(bars).parts[1] if len(Path(bars).parts) > 2 else None
    return instrument(symbol).tick_size if isinstance(symbol, str) else None


def _of_table(path: Path) -> list[OurTrade]:
    try:
        frame = pl.read_csv(path)
        if "rank" in frame.columns:
            msg = (
                "A report's table holds trades with spread and costs; a chart has none. Give the run folder."
            )
            raise DataError(msg, file=path)
        return msgspec.convert(frame.to_dicts(), list[OurTrade])
    except (pl.exceptions.PolarsError, msgspec.ValidationError) as error:
        msg = f"The table holds no trades of ours ({error}). It needs side, entry_ts_ns, entry_price, …"
        raise DataError(msg, file=path) from error
