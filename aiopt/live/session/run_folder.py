"""What a session leaves to be read: trades, the proof, and how it ended, beside its file.

Owns ``trades.csv``, ``session.json`` and ``readings.parquet`` of a session's folder.  They are written anew
whenever a stretch ends; what a session goes on from is its file alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
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
from aiopt.live.session.live_session import SessionEnd
from aiopt.live.session.live_trades import LiveTrade, trades_table
from aiopt.live.session.proof import Proof, not_comparable, prove
from aiopt.live.session.proof_ticks import ticks_of
from aiopt.live.state.session_file import SessionFile
from aiopt.utc import DAY_NS

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
    text = msgspec.json.format(msgspec.json.encode(document), indent=2)
    atomic_write_bytes(file.folder / SUMMARY, text + b"\n")


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
    trades, specs = trades_of(file), specs_of(config)
    readings = None if config.analyst is None else list(file.readings())
    changed = changed_by(file.state())
    found = {
        name: not_comparable(name, sum(trade.strategy == name for trade in trades), commands)
        for name, commands in changed.items()
    }
    if len(found) < len(config.strategies):
        others = (one for one in config.strategies if one.id not in found)
        for one in _proofs(trades, specs, config, others, readings, progress or (lambda done: None)):
            found[one.strategy] = one
    return [found[one.id] for one in config.strategies]


def _proofs(
    trades: list[LiveTrade],
    specs: dict[str, Any],
    config: LiveConfig,
    strategies: Iterable[TradedSpec],
    readings: list[str] | None,
    progress: Callable[[float], None],
) -> Iterator[Proof]:
    with ticks_of(config) as feed:
        yield from _proofs_on(feed, trades, specs, config, strategies, readings, progress)


def _proofs_on(
    feed: StoreFeed,
    trades: list[LiveTrade],
    specs: dict[str, Any],
    config: LiveConfig,
    strategies: Iterable[TradedSpec],
    readings: list[str] | None,
    progress: Callable[[float], None],
) -> Iterator[Proof]:
    warm_ns = int(config.warm_up_days * DAY_NS)
    segments = Segments((feed.start_ns, feed.stop_ns)) if warm_ns else None
    for number, one in enumerate(strategies):
        bars = bars_of_store(feed.folder, one.frame, start_ns=feed.start_ns - warm_ns, stop_ns=feed.stop_ns)
        log = None if readings is None else log_on_bars(readings, bars)
        with BacktestSession(bars, backtest_like(config, config.balance_of(one)), readings=log) as session:
            result = session.run(specs[one.id], segments=segments)
            mine = [trade for trade in trades if trade.strategy == one.id]
            yield prove(one.id, mine, result.trades, session.bars)
        progress(number + 1)
