"""Two results side by side: backtests or runs on the same data, and by how much one earned more.

Owns what is compared and when it may be.  Computes no statistics (`aiopt.evaluation`) and prints nothing.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from aiopt.errors import InputError
from aiopt.evaluation.bootstrap import PairedDifference, paired_difference
from aiopt.market.instrument import instrument
from aiopt.ranking.ranking_file import Entry
from aiopt.runs import RunFileError, RunFolder, backtest_of, load_run, markets_of, read_json

FIGURES = ("P&L", "Sharpe", "PF", "max DD", "trades")
"""Figures of each side, by the names the tables give them."""

_METRICS = ("net_profit", "sharpe_ratio", "profit_factor", "max_drawdown", "trades")
_ENTRY_FIGURES = ("net_pnl", "sharpe", "profit_factor", "max_drawdown", "trades")


class Side(msgspec.Struct, frozen=True, kw_only=True):
    """One of the two results.

    Attributes
    ----------
    path : str
        File or run folder.
    kind : str
        ``"backtest"`` or ``"run"``.
    strategy : str
        Name of the strategy; of a run that of the entry compared.
    basis : dict of str to str
        What must be the same on both sides: data, instrument and currency.
    settings : dict of str to object
        Assumptions that may differ, and are named where they do.
    ts_ns : list of int
        Start of each period (UTC).
    pnl : list of float
        Profit of each period, account currency.
    figures : dict of str to float or None
        By the names of `FIGURES`.
    """

    path: str
    kind: str
    strategy: str
    basis: dict[str, str]
    settings: dict[str, Any]
    ts_ns: list[int]
    pnl: list[float]
    figures: dict[str, float | None]


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """Two results and their difference.

    Attributes
    ----------
    first, second : Side
        As given.
    difference : PairedDifference
        Profit of the first less that of the second, with its interval.
    seed : int
        Of the interval.
    settings_differ : dict of str to (object, object)
        Assumptions that are not the same.
    """

    first: Side
    second: Side
    difference: PairedDifference
    seed: int
    settings_differ: dict[str, tuple[Any, Any]]


def compare(first: Side, second: Side, *, seed: int) -> Comparison:
    """Return two results with the interval of their difference.

    Raises
    ------
    InputError
        If data, instrument, currency or periods differ; the message says which.
    """
    faults = [
        f"{name}: {first.basis.get(name)} and {second.basis.get(name)}"
        for name in dict.fromkeys([*first.basis, *second.basis])
        if first.basis.get(name) != second.basis.get(name)
    ]
    if first.ts_ns != second.ts_ns:
        faults.append(f"periods: {_span(first.ts_ns)} and {_span(second.ts_ns)}")
    if faults:
        msg = f"Only results on the same data and periods compare, but these differ in {'; '.join(faults)}."
        raise InputError(msg + " Run both on the same bars.")
    names = dict.fromkeys([*first.settings, *second.settings])
    pairs = {name: (first.settings.get(name), second.settings.get(name)) for name in names}
    return Comparison(
        first=first,
        second=second,
        difference=paired_difference(first.pnl, second.pnl, seed=seed),
        seed=seed,
        settings_differ={name: pair for name, pair in pairs.items() if pair[0] != pair[1]},
    )


def read_side(path: Path, *, rank: int = 1) -> Side:
    """Read a result to compare.

    Parameters
    ----------
    path : Path
        A run folder, or a file that ``aiopt backtest --out`` wrote.
    rank : int
        Of a run: which entry.

    Raises
    ------
    InputError
        If there is no such file, it is none of the two, or the run has no such entry.
    """
    path = Path(path)
    if path.is_dir():
        return _side_of_run(load_run(path), rank)
    if not path.is_file():
        raise InputError(f"There is no file or run folder {path}. Check the path.")
    try:
        document = read_json(path, dict[str, Any])
    except RunFileError as error:
        msg = f"{path} is neither a run folder nor a file of `aiopt backtest … --out FILE`. Check the path."
        raise RunFileError(msg) from error
    return _side_of_backtest(path, document)


def _side_of_backtest(path: Path, document: dict[str, Any]) -> Side:
    profits = document.get("profits")
    if profits is None:
        msg = (
            f"{path}: the file must hold the profit of each period, but does not. "
            "Write it with `aiopt backtest … --out FILE`: `--json` alone leaves the curves out."
        )
        raise RunFileError(msg)
    try:
        bars, config, metrics = document["bars"], document["config"], document["metrics"]
        return Side(
            path=str(path),
            kind="backtest",
            strategy=document["spec"]["name"],
            basis={
                "kind": "backtest",
                "instrument": bars["instrument"],
                "currency": document["currency"],
                "data": document["data_hash"],
            },
            settings={"timeframe": bars["timeframe"], **config, **document["spec"]["params"]},
            ts_ns=profits["ts_ns"],
            pnl=profits["pnl"],
            figures={name: metrics[key] for name, key in zip(FIGURES, _METRICS, strict=True)},
        )
    except (KeyError, TypeError) as error:
        raise RunFileError(
            f"{path}: the file must be one that `aiopt backtest --out` wrote, but has no {error}."
        ) from error


def _side_of_run(run: RunFolder, rank: int) -> Side:
    ranking, config = run.ranking, run.config or {}
    entries = [] if ranking is None else ranking.entries
    entry = next((one for one in entries if one.rank == rank), None)
    if entry is None:
        count = "no ranked entry" if not entries else f"{len(entries)} ranked entries"
        raise InputError(f"A run must have an entry of rank {rank} to compare, but {run.path} has {count}.")
    backtest = backtest_of(config, entry.instrument)
    symbols = list(markets_of(config))
    traded = str(entry.instrument or symbols[0])
    return Side(
        path=str(run.path),
        kind="run",
        strategy=entry.name,
        basis={
            "kind": "run",
            "instrument": ", ".join(symbols),
            "currency": backtest.get("account_currency") or instrument(traded).quote,
            "data": str(config.get("data_hash")),
        },
        settings={
            "seed": config.get("seed"),
            "trials": None if ranking is None else ranking.statistics.trials,
            "timeframe": entry.timeframe,
            **({"traded": traded} if entry.instrument else {}),
            **{f"backtest.{name}": value for name, value in backtest.items()},
        },
        ts_ns=entry.out_of_sample_ts_ns,
        pnl=entry.out_of_sample_pnl,
        figures=_figures(entry),
    )


def _figures(entry: Entry) -> dict[str, float | None]:
    found = entry.out_of_sample
    return {name: getattr(found, key) for name, key in zip(FIGURES, _ENTRY_FIGURES, strict=True)}


def _span(ts_ns: list[int]) -> str:
    if not ts_ns:
        return "none"
    first, last = (str(np.datetime64(stamp, "ns").astype("datetime64[m]")) for stamp in (ts_ns[0], ts_ns[-1]))
    return f"{len(ts_ns):,} from {first} to {last}"
