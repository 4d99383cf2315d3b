"""The trials of a sweep in the ledger: recorded before anything is judged, and what others tried before.

Owns what of a sweep's rows and plan becomes a key and a span.  The ledger itself is `aiopt.ledger`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np

from aiopt.backtest.backtest_config import BacktestConfig
from aiopt.bars.schema import BarSet
from aiopt.config import content_hash
from aiopt.evaluation.folds import WalkForwardPlan
from aiopt.ledger import Author, Ledger, Look, Span, open_ledger
from aiopt.ledger.records import Keys, Kind, TrialTerms, trial_keys
from aiopt.ranking.earlier import Earlier
from aiopt.ranking.journal import read_journal
from aiopt.ranking.trials import TrialRow
from aiopt.series import Symbol
from aiopt.strategy.spec import StrategySpec
from aiopt.sweep.markets import finest_of_each
from aiopt.sweep.trial import TrialContext, terms_hash

COLUMNS = ("instrument", "spec_hash", "timeframe", "config_hash", "status")
"""Of ``trials.parquet`` that the ledger needs; runs of one market have no instrument."""

_IDENTITY_DIGITS = 16


class CountedTrial(NamedTuple):
    """What the ledger needs of a trial; fields as in `TrialRow`."""

    instrument: Symbol
    terms: TrialTerms
    ok: bool


class SweepCount:
    """One sweep, as the ledger sees it.

    Parameters
    ----------
    author : Author
        Whose trials they are.
    looks : mapping of str to Look
        By instrument; from `looks_of`.
    ledger : Ledger, optional
        By default that of `open_ledger`.
    """

    def __init__(self, author: Author, looks: Mapping[str, Look], ledger: Ledger | None = None) -> None:
        self.author = author
        self.looks = dict(looks)
        self._given = ledger

    @cached_property
    def ledger(self) -> Ledger:
        """The ledger."""
        return self._given or open_ledger()

    def prepare(self) -> None:
        """Find out before hours of work whether the trials can be recorded; errors as `record`."""
        self.ledger.prepare()

    def record(self, trials: Iterable[CountedTrial]) -> int:
        """Record trials, failed ones too, and return how many of them nobody had made before.

        Raises
        ------
        DataError
            If the ledger is damaged or of a newer version.
        StorageError
            If it cannot be written.
        """
        fresh = 0
        for symbol, found in self._by_market(trials).items():
            span = self.looks[symbol].span
            keys = trial_keys(span, (one.terms for one in found))
            fresh += self.ledger.record(self.author, span, keys, failed=sum(not one.ok for one in found))
        return fresh

    def earlier(self, trials: Iterable[CountedTrial] | None = None) -> Earlier:
        """Return what others tried on the same data.

        `trials` are the sweep's own; without them what it recorded before is.
        """
        if trials is None:
            return self.ledger.earlier(self.author, list(self.looks.values()))
        own: list[Keys] = [
            trial_keys(self.looks[symbol].span, (one.terms for one in found))
            for symbol, found in self._by_market(trials).items()
        ]
        keys = np.unique(np.concatenate(own)) if own else np.empty(0, dtype=np.uint64)
        return self.ledger.earlier(self.author, list(self.looks.values()), keys)

    def open_holdout(self, instruments: Iterable[Symbol]) -> None:
        """Record that the results of entries on their markets' holdouts are about to be shown."""
        for symbol in dict.fromkeys(instruments):
            look = self.looks[str(symbol)] if symbol else next(iter(self.looks.values()))
            if look.span.holdout_start_ns < look.span.stop_ns:
                self.ledger.open_holdout(self.author, look.span)

    def _by_market(self, trials: Iterable[CountedTrial]) -> dict[str, list[CountedTrial]]:
        only = next(iter(self.looks))
        found: dict[str, list[CountedTrial]] = defaultdict(list)
        for one in trials:
            found[str(one.instrument) if one.instrument else only].append(one)
        return found


def looks_of(bars: Mapping[str, BarSet], context: TrialContext) -> dict[str, Look]:
    """Return what a sweep asks the ledger, by instrument."""
    finest = finest_of_each(bars.values())
    several = len(finest) > 1
    return {
        symbol: look_of(
            context.plan,
            instrument=symbol,
            data_hash=context.terms(symbol if several else msgspec.UNSET).data_hash,
            synthetic=one.synthetic,
        )
        for symbol, one in finest.items()
    }


def look_of(plan: WalkForwardPlan, *, instrument: str, data_hash: str, synthetic: bool) -> Look:
    """Return what a sweep asks about one market: its span, and its out-of-sample stretch."""
    span = Span(
        instrument=instrument,
        data_hash=data_hash,
        synthetic=synthetic,
        start_ns=plan.start_ns,
        holdout_start_ns=plan.holdout_start_ns,
        stop_ns=plan.stop_ns,
    )
    edges = plan.boundaries_ns
    return Look(span=span, test_start_ns=edges[min(plan.test)], test_stop_ns=edges[max(plan.test) + 1])


def author_of(kind: Kind, identity: object, name: str | None = None) -> Author:
    """Return who tries: `identity` is what decides the result; without a name it gets one from it."""
    found = content_hash(identity)[:_IDENTITY_DIGITS]
    return Author(kind=kind, identity=found, name=name or f"{kind}-{found[:8]}")


def counted_rows(rows: Iterable[TrialRow]) -> list[CountedTrial]:
    """Return what the ledger needs of rows."""
    return [
        CountedTrial(row.instrument, TrialTerms(row.spec_hash, row.timeframe, row.config_hash), row.ok)
        for row in rows
    ]


def counted_journal(path: Path) -> list[CountedTrial]:
    """Return what the ledger needs of the trials that a leaderboard's journal holds so far."""
    if not path.is_file():
        return []
    with path.open("rb") as stream:
        if not stream.readline().endswith(b"\n"):
            return []  # killed before the first trial
    return counted_rows(read_journal(path)[1])


def counted_file(path: Path) -> list[CountedTrial]:
    """Return what the ledger needs of a ``trials.parquet``, without its profits."""
    import pyarrow.parquet as pq

    names = [name for name in COLUMNS if name in pq.read_schema(path).names]
    table = pq.read_table(path, columns=names).to_pydict()
    instruments = table.get("instrument", [msgspec.UNSET] * len(table["spec_hash"]))
    return [
        CountedTrial(instrument, TrialTerms(spec, timeframe, config), status == "ok")
        for instrument, spec, timeframe, config, status in zip(
            instruments, *(table[name] for name in COLUMNS[1:]), strict=True
        )
    ]


def record_backtest(strategy: StrategySpec, config: BacktestConfig, bars: BarSet) -> None:
    """Record one backtest as one trial on the whole span of its bars; the same one again changes nothing.

    Raises
    ------
    DataError, StorageError
        As `SweepCount.record`.
    """
    opens = bars.bid.ts_open_ns
    if not opens.size:
        return
    stop = int(opens[-1]) + bars.timeframe.ns
    span = Span(
        instrument=bars.instrument.symbol,
        data_hash=bars.data_hash,
        synthetic=bars.synthetic,
        start_ns=int(opens[0]),
        holdout_start_ns=stop,
        stop_ns=stop,
    )
    read = "" if bars.readings is None else bars.readings.log_hash
    terms = terms_hash(config.config_hash, strategy, read)
    keys = trial_keys(span, [TrialTerms(strategy.spec_hash, bars.timeframe.label, terms)])
    author = author_of("backtest", [int(keys[0])], f"backtest of {strategy.name}")
    open_ledger().record(author, span, keys)
