"""What one shard of the ticks gives, and how shards that were reduced apart come to the true state.

A job is run anywhere, in any order.  Owns jobs, their results, and what `BarRule.carry` takes: nothing, a
first pass that adds amounts up, or cutting the first ticks of a shard again.  Knows nothing of Ray.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from aiopt.bars.reducing.event_state import after_amounts, splice
from aiopt.bars.reducing.reducer import Columns, Reducer
from aiopt.bars.reducing.reducers import States, first_states, make_reducers
from aiopt.bars.request import BarRequest
from aiopt.market.instrument import instrument
from aiopt.ticks.shards import Shard, map_ticks, without_verification


@dataclass(frozen=True, eq=False, slots=True)
class ShardRows:
    """What a shard gives.

    Attributes
    ----------
    rows : list of list of Columns
        Per reducer the rows of each batch; empty lists of a job that only measures.
    states : tuple of ndarray
        Per reducer the state after the shard.
    first : int
        Session of its first tick in one.
    outside : int
        Ticks in no session.
    """

    rows: list[list[Columns]]
    states: States
    first: int
    outside: int


@dataclass(frozen=True, eq=False, slots=True)
class ShardJob:
    """The unit of work: a shard, and what to make of it.  Pickles by name.

    Attributes
    ----------
    shard : Shard
        From `plan_shards`.
    request : BarRequest
        Which bars the rows are for.
    states : tuple of ndarray or None
        Per reducer the state before the shard; None as if nothing came before it.
    measure : bool
        Return the state after the shard and no rows.
    """

    shard: Shard
    request: BarRequest
    states: States | None = None
    measure: bool = False

    def run(self) -> ShardRows:
        """Read the ticks of the shard, one row group at a time, and return what they give.

        Raises
        ------
        ManifestError
            If a file is missing, unreadable, or not what the manifest says; names the file.
        DataError
            If ticks are out of order or not finite; names the file and row.
        ConfigError
            If a size is between two price steps of the instrument.
        """
        reducers = make_reducers(self.request, instrument(self.shard.instrument), self.states)
        if self.measure:
            columns = [name for name in self.request.tick_columns if name not in ("bid", "ask")]
            for _ in map_ticks(self.shard, columns, partial(_advance, reducers)):
                pass
            rows: list[list[Columns]] = [[] for _ in reducers]
        else:
            batches = list(map_ticks(self.shard, self.request.tick_columns, partial(_reduce, reducers)))
            rows = [[batch[number] for batch in batches] for number in range(len(reducers))]
        states = tuple(reducer.state for reducer in reducers)
        return ShardRows(rows, states, reducers[0].first, reducers[0].outside)


class ShardEngine(Protocol):
    """Runs jobs somewhere else, several at a time.

    Attributes
    ----------
    name : str
        What `BarBuild.engine` says.
    """

    name: str

    def rows_per_shard(self, ticks: int) -> int:
        """Return how many ticks a shard should have, of this many."""
        ...

    def run(
        self, jobs: Sequence[ShardJob], label: str, report: Callable[[int], None] | None = None
    ) -> list[ShardRows]:
        """Return what each job gives, in their order; call `report` with the ticks of each as it ends.

        Raises
        ------
        AioptError
            What a job raised.
        ClusterError
            If the engine itself fails.
        """
        ...


def run_in_order(
    shards: Sequence[Shard], request: BarRequest, report: Callable[[int], None]
) -> list[ShardRows]:
    """Run one shard after the other in this process, each from the state its predecessor left."""
    found: list[ShardRows] = []
    symbol, states = "", first_states(request)
    for shard in shards:
        if shard.instrument != symbol:
            symbol, states = shard.instrument, first_states(request)
        found.append(ShardJob(shard, request, states).run())
        states = found[-1].states
        report(shard.rows)
    return found


def run_apart(
    shards: Sequence[Shard], request: BarRequest, engine: ShardEngine, report: Callable[[int], None]
) -> list[ShardRows]:
    """Run shards on an engine, in any order, and return the rows of each from its true state.

    Tick and volume bars take a first pass that adds up what lies before each shard.  Of range and Renko bars
    this process reads the first ticks of each shard again.
    """
    carry = request.rules[0].carry
    # What one pass verifies is not verified again in another.
    unverified = [without_verification(shard) for shard in shards]
    states: Sequence[States | None] = [None] * len(shards)
    if carry == "amount" and len(shards) > 1:
        measured = engine.run([ShardJob(shard, request, measure=True) for shard in unverified], "Amounts")
        states = states_before(shards, measured, request)
    jobs = [ShardJob(shard, request, before) for shard, before in zip(shards, states, strict=True)]
    found = engine.run(jobs, f"{request.type.capitalize()}Bars", report)
    return take_over(unverified, found, request) if carry == "path" else found


def states_before(
    shards: Sequence[Shard], measured: Sequence[ShardRows], request: BarRequest
) -> list[States | None]:
    """Return the states before each shard of tick or volume bars, from those each leaves alone."""
    found: list[States | None] = []
    symbol, states = "", first_states(request)
    for shard, measure in zip(shards, measured, strict=True):
        if shard.instrument != symbol:
            symbol, states = shard.instrument, first_states(request)
        found.append(states)
        states = tuple(
            after_amounts(before, alone, measure.first)
            for before, alone in zip(states or (), measure.states, strict=True)
        )
    return found


def take_over(shards: Sequence[Shard], alone: Sequence[ShardRows], request: BarRequest) -> list[ShardRows]:
    """Return the rows of range or Renko bars of each shard from its true state, from shards cut alone.

    The first ticks of a shard are read and cut again here, as far as it takes.
    """
    found: list[ShardRows] = []
    symbol, states = "", first_states(request)
    for shard, part in zip(shards, alone, strict=True):
        if shard.instrument != symbol:
            symbol, states = shard.instrument, first_states(request)
        rows: list[list[Columns]] = []
        after = []
        for number, before in enumerate(states or ()):
            again = partial(_again, shard, request, number)
            mended, state = splice(_below(part.rows[number]), part.states[number], before, again)
            rows.append(mended)
            after.append(state)
        states = tuple(after)
        found.append(replace(part, rows=rows, states=states))
    return found


def _again(
    shard: Shard, request: BarRequest, number: int, state: NDArray[np.int64]
) -> Iterator[tuple[Columns, NDArray[np.int64]]]:
    """Yield the rows of one reducer of a shard from a state, and the state after each batch."""
    states = list(first_states(request) or ())
    states[number] = state
    reducer = make_reducers(request, instrument(shard.instrument), tuple(states))[number]
    for rows in map_ticks(shard, request.tick_columns, reducer.reduce):
        yield rows, reducer.state.copy()


def _reduce(reducers: Sequence[Reducer], ticks: dict[str, NDArray[Any]]) -> list[Columns]:
    return [reducer.reduce(ticks) for reducer in reducers]


def _advance(reducers: Sequence[Reducer], ticks: dict[str, NDArray[Any]]) -> None:
    for reducer in reducers:
        reducer.advance(ticks)


def _below(batches: Sequence[Columns]) -> Columns:
    return {name: np.concatenate([batch[name] for batch in batches]) for name in batches[0]}
