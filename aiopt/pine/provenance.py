"""Where a script comes from: the figures and hashes its header states.  Knows no strategy and no run folder.

Nothing here reads a clock: the same run gives the same text, to the byte.
"""

from __future__ import annotations

import math
import re

import msgspec

from aiopt import __version__
from aiopt.errors import PineError
from aiopt.pine.text import comment, one_line
from aiopt.utc import time_text

# The comment lines at the top up to the statement, and the statement with the lines that continue it.
_VERIFIED = re.compile(r"((?://.*\n)*?)// verified: .*(?:\n//   .*)*")

Figures = dict[str, float | int | None]
"""Name of a figure, as it is to be printed, to its value; None and NaN are printed as "n/a"."""


class Verification(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A comparison of the script's trades in a Pine engine with the backtest's.

    Attributes
    ----------
    engine : str
        Name and version of the Pine engine.
    trades : int
        Closed trades compared: entry and exit bar, side, price to the tick.
    data_hash : str
        Of the bars both were run on.
    bars : int
        How many they were; 0 if that is not stated.
    first_ts_ns, last_ts_ns : int or None
        Open of the first and of the last of them, UTC.
    failure : str
        Why the script must not be used: the first difference, or why the engine could not run it.
    """

    engine: str
    trades: int
    data_hash: str
    bars: int = 0
    first_ts_ns: int | None = None
    last_ts_ns: int | None = None
    failure: str = ""


class Provenance(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the header of a script states.  Everything is optional: a hand-written spec has no run.

    Attributes
    ----------
    run_id : str or None
        Folder name of the run.
    rank : int or None
        Place in the run's ranking, from 1.
    trials : int or None
        Trials the entry was chosen from.
    earlier_trials : int
        Trials of others on the same data, which count too.
    data_hash : str or None
        `Manifest.data_hash` of the ticks.
    synthetic : bool
        The ticks were generated, not traded.
    timeframe : str or None
        Bar length the strategy was chosen on, e.g. ``"5m"``.
    first_ts_ns, last_ts_ns : int or None
        Open of the first and of the last bar, UTC.
    costs : str or None
        Costs the figures include, in words.
    rollover : str or None
        What the backtest held over 17:00 New York and what that cost or would cost, in words.
    in_sample, out_of_sample, holdout : dict
        Figures by name; empty if there are none.
    holdout_seen : str or None
        That the holdout had been seen before, in words.
    verification : Verification or None
        None: the header says that the trades are *not* verified.
    """

    run_id: str | None = None
    rank: int | None = None
    trials: int | None = None
    earlier_trials: int = 0
    data_hash: str | None = None
    synthetic: bool = False
    timeframe: str | None = None
    first_ts_ns: int | None = None
    last_ts_ns: int | None = None
    costs: str | None = None
    rollover: str | None = None
    in_sample: Figures = {}
    out_of_sample: Figures = {}
    holdout: Figures = {}
    holdout_seen: str | None = None
    verification: Verification | None = None


def header_lines(provenance: Provenance, *, name: str, spec_hash: str, symbol: str) -> list[str]:
    """Return the comment lines that state where a script comes from.

    Parameters
    ----------
    provenance : Provenance
        What is known.
    name, spec_hash : str
        Of the strategy.
    symbol : str
        Instrument it was made for.
    """
    data = provenance.data_hash or "none"
    if provenance.synthetic:
        data += "  SYNTHETIC ticks: generated, not traded. The figures say nothing about a market."
    chart = f"{symbol}, {provenance.timeframe or 'any timeframe'}, standard candles, bid prices"
    facts = [
        ("strategy", name),
        ("made by", f"aiopt {__version__}"),
        ("spec", f"sha256 {spec_hash} (the JSON beside this file)"),
        ("run", _run_text(provenance)),
        ("data", data),
        ("chart", chart),
        ("period", _period_text(provenance)),
        ("costs", provenance.costs or "none stated"),
        ("rollover", _rollover_text(provenance.rollover)),
        ("in sample", _figures_text(provenance.in_sample)),
        ("out of sample", _figures_text(provenance.out_of_sample)),
        ("holdout", _figures_text(provenance.holdout)),
        *([("holdout seen", provenance.holdout_seen)] if provenance.holdout_seen else []),
        ("verified", _verification_text(provenance.verification)),
    ]
    return [line for label, text in facts for line in comment(f"{label}: {one_line(text)}")]


def _run_text(provenance: Provenance) -> str:
    if provenance.run_id is None:
        return "none (made from a spec by hand)"
    rank = "" if provenance.rank is None else f", rank {provenance.rank}"
    trials = "" if provenance.trials is None else f" of {provenance.trials:,} trials"
    earlier = f", {provenance.earlier_trials:,} earlier ones count too" if provenance.earlier_trials else ""
    return f"{provenance.run_id}{rank}{trials}{earlier}"


def _period_text(provenance: Provenance) -> str:
    if provenance.first_ts_ns is None or provenance.last_ts_ns is None:
        return "none stated"
    return f"{time_text(provenance.first_ts_ns)} to {time_text(provenance.last_ts_ns)} UTC (bar opens)"


def _rollover_text(counted: str | None) -> str:
    limit = "TradingView's emulator charges no swap"
    return (
        f"{limit}; trades held over 17:00 New York were not counted."
        if counted is None
        else (f"{limit}, so none is in this chart's figures. In the backtest {counted}.")
    )


def _figures_text(figures: Figures) -> str:
    if not figures:
        return "no figures"
    return ", ".join(f"{name} {_figure_text(value)}" for name, value in figures.items())


def _figure_text(value: float | int | None) -> str:
    if value is None or not math.isfinite(value):
        return "n/a"
    return str(value) if isinstance(value, int) else f"{value:.4g}"


def _verification_text(verification: Verification | None) -> str:
    if verification is None:
        return (
            "NOT verified by a Pine engine. The structure was checked (aiopt's own parser and rules); "
            "the trades of this script were not compared with the backtest's. To compare them: "
            "`aiopt pine engine install`, then `aiopt pine verify` with the run or this file."
        )
    if verification.failure:
        return (
            f"FAILED, DO NOT USE THIS SCRIPT: in {verification.engine} it does not trade as the backtest "
            f"does ({verification.failure})."
        )
    where = f"on {_stretch_text(verification)}data {verification.data_hash}"
    if not verification.trades:
        return f"NOT verified: in {verification.engine} no trade was made {where}."
    return (
        f"{verification.trades} closed trades equal the backtest's in {verification.engine} "
        f"(entry and exit bar, side, price to the tick) {where}."
    )


def _stretch_text(verification: Verification) -> str:
    if not verification.bars or verification.first_ts_ns is None or verification.last_ts_ns is None:
        return ""
    first, last = time_text(verification.first_ts_ns), time_text(verification.last_ts_ns)
    return f"{verification.bars} bars from {first} to {last} UTC of "


def with_verification(script: str, verification: Verification) -> str:
    """Return a script whose header states a verification, instead of what it stated before of one.

    Only comment lines change, so that what was verified is what the script still says.

    Parameters
    ----------
    script : str
        From `aiopt.pine.emitter.emit`.
    verification : Verification
        What came of it.

    Raises
    ------
    PineError
        If the header states nothing of a verification.
    """
    stated = _VERIFIED.match(script)
    if stated is None:
        raise PineError("The script's header has no line `// verified:`. Emit the script again.")
    return script[: stated.end(1)] + "\n".join(_verified_lines(verification)) + script[stated.end() :]


def _verified_lines(verification: Verification | None) -> list[str]:
    return comment(f"verified: {one_line(_verification_text(verification))}")
