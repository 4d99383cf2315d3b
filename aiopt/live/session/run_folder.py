"""What a session leaves to be read: trades, the proof, and how it ended, beside its file.

Owns ``trades.csv``, ``session.json`` and ``readings.parquet`` of a session's folder.  They are written anew
whenever a stretch ends; what a session goes on from is its file alone.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from aiopt.backtest.backtest_config import BacktestConfig, Segments
from aiopt.backtest.session import BacktestSession
from aiopt.files import atomic_write_bytes, atomic_write_text
from aiopt.live.control.controls import changed_by
from aiopt.live.feeds.store_feed import StoreFeed
from aiopt.live.feeds.warm_up import bars_of_store
from aiopt.live.reading.readings_file import READINGS, log_on_bars, logged, write_readings
from aiopt.live.session.live_config import LiveConfig, TradedSpec, specs_of
from aiopt.live.session.live_trades import LiveTrade, trades_table
from aiopt.live.session.proof import Proof, not_comparable, prove
from aiopt.live.session.proof_ticks import ticks_of
from aiopt.live.session.session_end import SessionEnd
from aiopt.live.state.session_file import SessionFile
from aiopt.utc import DAY_NS

_RULE = re.compile(r"[a-z_]+")

TRADES, SUMMARY = "trades.csv", "session.json"


def trades_of(file: SessionFile) -> list[LiveTrade]:
    """Return the finished round trips of a session, in the order in which they ended."""
    return [msgspec.json.decode(value, type=LiveTrade) for _, value in file.trades()]


def write_folder(file: SessionFile, config: LiveConfig, end: SessionEnd, proofs: list[Proof] | None) -> None:
    """Write what a session leaves.

    Parameters
    ----------
    file : SessionFile
        Of the session.
    config : LiveConfig
        What it did.
    end : SessionEnd
        How it ended.
    proofs : list of Proof or None
        One per strategy; None: nothing was compared.
    """
    atomic_write_text(file.folder / TRADES, trades_table(trades_of(file)))
    if config.analyst is not None:
        write_readings(file.folder / READINGS, logged(file.readings()))
    document: dict[str, Any] = {
        "end": msgspec.to_builtins(end),
        "config": msgspec.to_builtins(config),
        "proof": None if proofs is None else msgspec.to_builtins(proofs),
    }
    _write_summary(file.folder, document)


def write_proofs(folder: Path, proofs: list[Proof]) -> None:
    """Put a proof that was made later into ``session.json`` of a session's folder."""
    path = folder / SUMMARY
    document: dict[str, Any] = msgspec.json.decode(path.read_bytes()) if path.is_file() else {}
    document["proof"] = msgspec.to_builtins(proofs)
    _write_summary(folder, document)


def _write_summary(folder: Path, document: dict[str, Any]) -> None:
    text = msgspec.json.format(msgspec.json.encode(document), indent=2)
    atomic_write_bytes(folder / SUMMARY, text + b"\n")


def backtest_like(config: LiveConfig, balance: float) -> BacktestConfig:
    """Return the assumptions of a session as those of a backtest."""
    account = config.account
    return BacktestConfig(
        initial_balance=balance,
        leverage=account.leverage,
        commission_per_million=account.commission_per_million,
        slippage_ticks=account.slippage_ticks,
        extra_spread_pips=account.extra_spread_pips,
        swap=account.swap,
    )


def prove_session(
    file: SessionFile, config: LiveConfig, progress: Callable[[float], None] | None = None
) -> list[Proof]:
    """Backtest every strategy of a finished replay on bars of the same ticks and compare the trades.

    Parameters
    ----------
    file : SessionFile
        Of a session that is at the end of its feed.
    config : LiveConfig
        What it did.
    progress : callable, optional
        Told of the strategies done.

    Returns
    -------
    list of Proof
        Of each strategy; one that a person changed while it ran is compared with nothing, and says so.
    """
    specs = specs_of(config)
    readings = None if config.analyst is None else list(file.readings())
    changed = changed_by(file.state())
    found = {
        name: not_comparable(name, sum(trade.strategy == name for trade in trades_of(file)), commands)
        for name, commands in changed.items()
    }
    if len(found) < len(config.strategies):
        others = (one for one in config.strategies if one.id not in found)
        for one in _proofs(file, specs, config, others, readings, progress or (lambda done: None)):
            found[one.strategy] = one
    return [found[one.id] for one in config.strategies]


def refused_entries(events: Iterable[tuple[int, int, str]], config: LiveConfig) -> dict[str, dict[int, str]]:
    """Return the rules that refused entries, by strategy and the opening time of the bar.

    Parameters
    ----------
    events : iterable of (int, int, str)
        Number, time and record, as a session keeps them.
    config : LiveConfig
        Of the session.
    """
    frames = {one.id: one.frame.ns for one in config.strategies}
    found: dict[str, dict[int, str]] = {name: {} for name in frames}
    for _, ts_ns, text in events:
        record = json.loads(text)
        if record.get("type") == "refused" and record["strategy"] in frames:
            length = frames[record["strategy"]]
            found[record["strategy"]][ts_ns // length * length] = refusing_rule(record["text"])
    return found


def refusing_rule(text: str) -> str:
    """Return the rule in what a strategy was told of a refusal: ``ID was rejected: RULE: REASON``."""
    parts = text.partition(": ")[2].partition(": ")
    return parts[0] if parts[1] and _RULE.fullmatch(parts[0]) else "refused"


def _proofs(
    file: SessionFile,
    specs: dict[str, Any],
    config: LiveConfig,
    strategies: Iterable[TradedSpec],
    readings: list[str] | None,
    progress: Callable[[float], None],
) -> Iterator[Proof]:
    with ticks_of(config) as feed:
        yield from _proofs_on(feed, file, specs, config, strategies, readings, progress)


def _proofs_on(
    feed: StoreFeed,
    file: SessionFile,
    specs: dict[str, Any],
    config: LiveConfig,
    strategies: Iterable[TradedSpec],
    readings: list[str] | None,
    progress: Callable[[float], None],
) -> Iterator[Proof]:
    trades, refused = trades_of(file), refused_entries(file.events(), config)
    warm_ns = int(config.warm_up_days * DAY_NS)
    segments = Segments((feed.start_ns, feed.stop_ns)) if warm_ns else None
    for number, one in enumerate(strategies):
        bars = bars_of_store(feed.folder, one.frame, start_ns=feed.start_ns - warm_ns, stop_ns=feed.stop_ns)
        log = None if readings is None else log_on_bars(readings, bars)
        with BacktestSession(bars, backtest_like(config, config.balance_of(one)), readings=log) as session:
            result = session.run(specs[one.id], segments=segments)
            mine = [trade for trade in trades if trade.strategy == one.id]
            yield prove(one.id, mine, result.trades, session.bars, refused[one.id])
        progress(number + 1)
