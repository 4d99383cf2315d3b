"""Walk-forward: how the span is cut into segments, and which are trained on, tested on and held out.

Owns segments, folds and the period grid on which profits are compared.  Knows nothing of bars or strategies:
it is given time stamps.

::

    segment     0     1     2     3     4     5     6     7        train_segments=3, folds=4
    fold 0    train train train test                    .
    fold 1          train train train test              .
    fold 2                train train train test        .
    fold 3                      train train train test  .
    refit                             train train train holdout    the parameters that are emitted

Segments are half-open, ``[boundaries_ns[i], boundaries_ns[i + 1])``.  The engine is flat at every segment's
end and takes no position on its last bar, so a segment's profit depends on no later segment's prices;
only indicators look back, and looking back from a test into its train window is what live trading does too.
No label or position spans a boundary, hence nothing needs purging; `purge_segments` leaves a gap all the same
for those who want the test further away from the train window.

An **anchored** walk-forward trains from the first segment on: windows grow.  `purge` and `embargo` are such
a gap given as a length of time: the last `purge` of every train window and the first `embargo` of every test
segment (and of the holdout) become segments of their own, which that fold does not use.  Since no position
spans two segments, no trade of a train window reaches into the gap, let alone into the test::

    block         0     1         2           3         train_segments=2, folds=2, purge and embargo set
    segment       0     1    2p   3e 4    5p  6e 7    8p
    fold 0      train train  -    -  test test
    fold 1            train train .. train -  -  test test
"""

from __future__ import annotations

import msgspec
import numpy as np
import numpy.typing as npt

from aiopt.errors import ConfigError, MetricInputError
from aiopt.evaluation.arrays import FloatArray, finite_vector, require
from aiopt.evaluation.gaps import Layout, check_filled, cut_gaps, gap_ns, lay_out
from aiopt.evaluation.metrics import SECONDS_PER_YEAR
from aiopt.timeframe import time_grid, timeframe_of_ns
from aiopt.utc import HOUR_NS

IntArray = npt.NDArray[np.int64]


class WalkForwardConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How many segments there are and what they are for.

    Attributes
    ----------
    train_segments : int
        Length of a train window, in segments; of the first one where windows are anchored.
    folds : int
        Train windows, each followed by one test segment.
    holdout_segments : int
        Last segments, which nothing may read before the ranking is fixed.  0: no holdout.
    purge_segments : int
        Segments left out between a train window and what follows it.
    anchored : bool or unset
        Every train window starts with the first segment; unset: it has `train_segments` and rolls.
    purge : str or unset
        Length of time, e.g. ``"4h"``, left out at the end of every train window.
    embargo : str or unset
        Length of time, e.g. ``"1d"``, left out at the start of every test segment and of the holdout.
    """

    train_segments: int = 3
    folds: int = 4
    holdout_segments: int = 1
    purge_segments: int = 0
    anchored: bool | msgspec.UnsetType = msgspec.UNSET
    purge: str | msgspec.UnsetType = msgspec.UNSET
    embargo: str | msgspec.UnsetType = msgspec.UNSET

    def __post_init__(self) -> None:
        # Unset, not False: plans and run ids of those who never asked for it stay what they were.
        if not self.anchored:
            msgspec.structs.force_setattr(self, "anchored", msgspec.UNSET)
        for name in ("purge", "embargo"):
            given = getattr(self, name)
            if given is not msgspec.UNSET:
                label = timeframe_of_ns(gap_ns(name, given)).label
                msgspec.structs.force_setattr(self, name, label)
        for name, least in (
            ("train_segments", 1),
            ("folds", 1),
            ("holdout_segments", 0),
            ("purge_segments", 0),
        ):
            value = getattr(self, name)
            if value < least:
                raise ConfigError(f"`{name} >= {least}` must hold, but got {name}={value}. Raise it.")
        if self.blocks > 10_000:
            raise ConfigError(
                f"A walk-forward may have 10000 segments, but has {self.blocks}. Use fewer "
                f"folds or train segments."
            )

    @property
    def blocks(self) -> int:
        """Stretches of equally much market the span is cut into, before purge and embargo cut them again."""
        return self.train_segments + self.purge_segments + self.folds + self.holdout_segments

    @property
    def segments(self) -> int:
        """Number of segments in all."""
        return self.layout.count

    @property
    def development_segments(self) -> int:
        """Number of segments before the holdout; the first ones."""
        blocks = self.train_segments + self.purge_segments + self.folds
        return self.layout.start_of(blocks)

    @property
    def layout(self) -> Layout:
        """Which segments each block consists of."""
        train, test = self.train_segments, self.train_segments + self.purge_segments
        purged = range(train - 1, train + self.folds) if self.purge_ns else range(0)
        tested = range(test, test + self.folds + (self.holdout_segments > 0)) if self.embargo_ns else range(0)
        return lay_out(self.blocks, frozenset(purged), frozenset(tested))

    @property
    def purge_ns(self) -> int:
        """Length of `purge`; 0 where it is unset."""
        return 0 if self.purge is msgspec.UNSET else gap_ns("purge", self.purge)

    @property
    def embargo_ns(self) -> int:
        """Length of `embargo`; 0 where it is unset."""
        return 0 if self.embargo is msgspec.UNSET else gap_ns("embargo", self.embargo)

    def train_window(self, stop: int) -> tuple[int, ...]:
        """Return the segments of the train window that ends with the block before `stop`."""
        first = 0 if self.anchored else stop - self.train_segments
        return self.layout.train(first, stop)


class Fold(msgspec.Struct, frozen=True, kw_only=True):
    """One step: parameters are chosen on segments `train` and traded on segments `test`.

    Attributes
    ----------
    index : int
        0-based.
    train : tuple of int
        Consecutive segment indices, all before `test`.
    test : tuple of int
        Consecutive segment indices: one, or two where a later fold's purge cuts it.
    """

    index: int
    train: tuple[int, ...]
    test: tuple[int, ...]


def make_folds(config: WalkForwardConfig) -> tuple[Fold, ...]:
    """Return the folds of a walk-forward, in order of time; their test segments follow each other."""
    stops = range(config.train_segments, config.train_segments + config.folds)
    return tuple(
        Fold(
            index=k,
            train=config.train_window(stop),
            test=config.layout.test(stop + config.purge_segments),
        )
        for k, stop in enumerate(stops)
    )


class WalkForwardPlan(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A walk-forward laid over a span of time: what every trial of a run is measured by.

    Attributes
    ----------
    config : WalkForwardConfig
        Counts of segments.
    boundaries_ns : tuple of int, UTC
        ``config.segments + 1`` ascending multiples of `period_ns`; segment ``i`` is
        ``[boundaries_ns[i], boundaries_ns[i + 1])``.
    period_ns : int
        Length of the periods of the common grid on which profits are compared.
    """

    config: WalkForwardConfig
    boundaries_ns: tuple[int, ...]
    period_ns: int = HOUR_NS

    def __post_init__(self) -> None:
        if self.period_ns <= 0:
            raise ConfigError(f"`period_ns > 0` must hold, but got period_ns={self.period_ns}.")
        if len(self.boundaries_ns) != self.config.segments + 1:
            msg = (
                f"{self.config.segments} segments need {self.config.segments + 1} boundaries, "
                f"but got {len(self.boundaries_ns)}."
            )
            raise ConfigError(msg)
        if any(b <= a for a, b in zip(self.boundaries_ns, self.boundaries_ns[1:], strict=False)):
            raise ConfigError(f"Boundaries must ascend, but got {list(self.boundaries_ns)}.")
        off = [b for b in self.boundaries_ns if b % self.period_ns]
        if off:
            msg = f"Boundaries must be multiples of period_ns={self.period_ns}, but got {off[0]}."
            raise ConfigError(msg)

    @property
    def folds(self) -> tuple[Fold, ...]:
        """The folds, in order of time."""
        return make_folds(self.config)

    @property
    def development(self) -> tuple[int, ...]:
        """Segments before the holdout."""
        return tuple(range(self.config.development_segments))

    @property
    def test(self) -> tuple[int, ...]:
        """Test segments of all folds."""
        return tuple(segment for fold in self.folds for segment in fold.test)

    @property
    def refit(self) -> tuple[int, ...]:
        """The last train window before the holdout: the emitted parameters are chosen on it."""
        return self.config.train_window(self.config.train_segments + self.config.folds)

    @property
    def holdout(self) -> tuple[int, ...]:
        """Segments held out."""
        return tuple(range(self.config.development_segments, self.config.segments))

    def span_ns(self, segments: tuple[int, ...]) -> tuple[int, int]:
        """Return where consecutive segments start and stop."""
        return self.boundaries_ns[segments[0]], self.boundaries_ns[segments[-1] + 1]

    @property
    def start_ns(self) -> int:
        """Start of the first segment."""
        return self.boundaries_ns[0]

    @property
    def holdout_start_ns(self) -> int:
        """End of the development segments, where the holdout starts."""
        return self.boundaries_ns[self.config.development_segments]

    @property
    def stop_ns(self) -> int:
        """End of the last segment."""
        return self.boundaries_ns[-1]

    @property
    def development_periods(self) -> int:
        """Number of periods before the holdout: the length of ``TrialRow.pnl``."""
        return (self.holdout_start_ns - self.start_ns) // self.period_ns

    @property
    def holdout_periods(self) -> int:
        """Number of periods of the holdout: the length of ``TrialRow.holdout_pnl``."""
        return (self.stop_ns - self.holdout_start_ns) // self.period_ns

    @property
    def periods_per_year(self) -> float:
        """Periods in a Julian year.  The grid has no gaps: closed hours are periods, with profit 0."""
        return SECONDS_PER_YEAR * 1e9 / self.period_ns

    def periods_of(self, segments: tuple[int, ...]) -> IntArray:
        """Return the indices, on the grid that starts at `start_ns`, of the periods of some segments."""
        starts = [
            np.arange(
                (self.boundaries_ns[i] - self.start_ns) // self.period_ns,
                (self.boundaries_ns[i + 1] - self.start_ns) // self.period_ns,
                dtype=np.int64,
            )
            for i in segments
        ]
        return np.concatenate(starts) if starts else np.empty(0, dtype=np.int64)

    def period_starts_ns(self, segments: tuple[int, ...]) -> IntArray:
        """Return the opening times of the periods of some segments."""
        return self.start_ns + self.periods_of(segments) * self.period_ns


def plan_walk_forward(
    config: WalkForwardConfig, active_ts_ns: npt.ArrayLike, *, period_ns: int = HOUR_NS
) -> WalkForwardPlan:
    """Lay a walk-forward over the time in which there was a market.

    Parameters
    ----------
    config : WalkForwardConfig
        Counts of segments.
    active_ts_ns : array_like of shape (n,), int64, UTC, ascending
        Times at which something was quoted: the opening times of the finest bars.  All timeframes of a run
        share one plan.
    period_ns : int
        Length of a period; segments consist of whole periods.

    Raises
    ------
    MetricInputError
        If the span has fewer active periods than segments.
    ConfigError
        If `purge` or `embargo` is no whole number of periods, or leaves nothing of what it is cut from.
    """
    blocks = active_boundaries(active_ts_ns, config.blocks, align_ns=period_ns)
    boundaries = cut_gaps(
        blocks.tolist(),
        config.layout,
        purge_ns=config.purge_ns,
        embargo_ns=config.embargo_ns,
        period_ns=period_ns,
    )
    plan = WalkForwardPlan(config=config, boundaries_ns=boundaries, period_ns=period_ns)
    if config.layout.gaps:
        times = np.asarray(active_ts_ns, dtype=np.int64)
        parts = [(f"fold {fold.index + 1}", fold.train, fold.test) for fold in plan.folds]
        for name, train, test in [*parts, ("the refit", plan.refit, plan.holdout)]:
            check_filled(times, plan.span_ns(train), f"the train window of {name}", "purge")
            if test:
                check_filled(times, plan.span_ns(test), f"the test of {name}", "embargo")
    return plan


def segment_boundaries(first_ts_ns: int, last_ts_ns: int, n: int, *, align_ns: int = HOUR_NS) -> IntArray:
    """Cut a span into `n` segments of equal time, as nearly as the grid allows.

    Parameters
    ----------
    first_ts_ns, last_ts_ns : int, UTC
        First and last time stamp of the span; both lie inside the segments.
    n : int
        Number of segments.
    align_ns : int
        Boundaries are multiples of it, so that they are the same for every timeframe that divides it.

    Returns
    -------
    ndarray of shape (n + 1,), int64
        Ascending.  Element 0 is at or before `first_ts_ns`, the last one after `last_ts_ns`.

    Raises
    ------
    MetricInputError
        If the span is shorter than `n` grid steps, or an argument is out of range.
    """
    _check_cut(n, align_ns)
    require(
        last_ts_ns >= first_ts_ns,
        "first_ts_ns <= last_ts_ns",
        f"first_ts_ns={first_ts_ns}, last_ts_ns={last_ts_ns}",
        "Pass the span in order.",
    )
    start, stop = first_ts_ns // align_ns, last_ts_ns // align_ns + 1
    _check_long_enough(stop - start, n, align_ns)
    steps = [start + i * (stop - start) // n for i in range(n + 1)]
    return np.array(steps, dtype=np.int64) * align_ns


def active_boundaries(active_ts_ns: npt.ArrayLike, n: int, *, align_ns: int = HOUR_NS) -> IntArray:
    """Cut a span into `n` segments with equally many active grid steps.

    A weekend adds nothing to a segment's length, so that each has about the same amount of market.  The steps
    are the same whichever timeframe up to `align_ns` the times come from.

    Parameters
    ----------
    active_ts_ns : array_like of shape (n_times,), int64, UTC, ascending
        Times at which there was a market, e.g. opening times of bars.
    n : int
        Number of segments.
    align_ns : int
        Grid step; boundaries are multiples of it.

    Returns
    -------
    ndarray of shape (n + 1,), int64
        Ascending.  Every segment has at least one active step; all times lie inside.

    Raises
    ------
    MetricInputError
        If the times do not ascend, or there are fewer than `n` active steps.
    """
    _check_cut(n, align_ns)
    times = np.asarray(active_ts_ns, dtype=np.int64)
    if times.ndim != 1 or times.size == 0 or (np.diff(times) < 0).any():
        msg = "`active_ts_ns` must be a vector of ascending times, with at least one. Sort it first."
        raise MetricInputError(msg)
    steps = times // align_ns
    steps = steps[np.concatenate(([True], np.diff(steps) > 0))]
    _check_long_enough(steps.size, n, align_ns)
    cuts = [int(steps[i * steps.size // n]) for i in range(n)]
    return np.array([*cuts, int(steps[-1]) + 1], dtype=np.int64) * align_ns


def period_profits(
    ts_open_ns: npt.ArrayLike, equity: npt.ArrayLike, *, start_ns: int, stop_ns: int, period_ns: int
) -> FloatArray:
    """Return the profit made in each period of a grid.

    Parameters
    ----------
    ts_open_ns : array_like of shape (n_bars,), int64, UTC, ascending
        Opening times of the bars.
    equity : array_like of shape (n_bars + 1,), account currency
        Element 0 is the starting balance, element ``i + 1`` the equity at the close of bar ``i``.
    start_ns, stop_ns : int
        The grid covers ``[start_ns, stop_ns)``, a whole number of periods.
    period_ns : int
        Length of a period.

    Returns
    -------
    ndarray of shape ((stop_ns - start_ns) // period_ns,), float64
        A bar's change of equity counts in the period in which the bar *opens*; periods without bars have 0.
        Bars outside the grid are left out.

    Raises
    ------
    MetricInputError
        If shapes do not match, times do not ascend or the grid is not a whole number of periods.
    """
    times = np.asarray(ts_open_ns, dtype=np.int64)
    values = finite_vector(equity, "equity")
    require(
        times.ndim == 1 and values.size == times.size + 1,
        "len(equity) == len(ts_open_ns) + 1",
        f"{values.size} and {times.size}",
        "Pass the equity of these bars.",
    )
    require(
        period_ns > 0 and stop_ns >= start_ns and (stop_ns - start_ns) % max(period_ns, 1) == 0,
        "stop_ns - start_ns is a multiple of period_ns",
        f"start_ns={start_ns}, stop_ns={stop_ns}, period_ns={period_ns}",
        "Take the times from a WalkForwardPlan.",
    )
    require(not (np.diff(times) < 0).any(), "times ascend", "times that do not", "Sort the bars.")
    edges = time_grid(start_ns, stop_ns + 1, period_ns)
    return np.diff(values[np.searchsorted(times, edges, side="left")])


def _check_cut(n: int, align_ns: int) -> None:
    require(n >= 1 and align_ns > 0, "n >= 1 and align_ns > 0", f"n={n}, align_ns={align_ns}", "Raise them.")


def _check_long_enough(steps: int, n: int, align_ns: int) -> None:
    if steps < n:
        msg = (
            f"{n} segments need at least {n} steps of {align_ns / 1e9:g} s with a market, but the data has "
            f"{steps}. Use more ticks, or fewer folds and train segments (`walk_forward`)."
        )
        raise MetricInputError(msg)
