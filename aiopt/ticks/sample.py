"""Generated ticks: a month of EUR/USD for a first run without any download, the same on every machine.

Owns the model below.  Knows nothing of real data; what it writes is marked synthetic.

The model
---------
Time is cut into minutes of the FX week.  A minute of session hour ``h`` has

- **activity** ``a(h)``, a daily pattern with its peak in the London/New York overlap and its trough after
  17:00 New York; the number of ticks is ``ticks_per_day / 1440 * a(h) * sqrt(v) * noise``;
- **variance** ``v``, a GARCH(1,1) ``v' = w + alpha v z**2 + beta v`` of the minute's standardised return
  ``z``, plus a jump on news minutes (08:30 New York, on some days): volatility clusters;
- **standard deviation** ``s = s0 * sqrt(a(h)) * sqrt(v)``, with `s0` such that an average day moves 0.5 %;
- **regime** trend up, trend down, range, or none, lasting hours: a drift of some hundredths of `s`, or a weak
  pull to a slow anchor.  Over months the price is pulled to where it started.  A planted edge is
  another drift, see `aiopt.ticks.planted_edge`.

Inside a minute the latent mid is a random walk with fat-tailed steps.  The quote lies on the price grid
around it, ``bid < ask`` always, with a spread that depends on the hour and widens with `v`.  After a week-end
the price opens with a gap.  Stamps are whole milliseconds, strictly increasing; sizes multiples of 50,000.

Why it is the same everywhere: only raw PCG64 output, integer arithmetic, and ``+ - * / sqrt rint``, which
IEEE 754 rounds exactly, are used; sums of steps are sums of integers.  Each day has its own random stream, so
a longer sample begins with the shorter one.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

import aiopt
from aiopt.config import content_hash
from aiopt.errors import ConfigError
from aiopt.market.calendar import open_time_ns
from aiopt.market.instrument import Instrument, instrument
from aiopt.ticks.checks.validation import DEFAULT_RULES, SourcedTicks, Validator
from aiopt.ticks.manifest import Manifest, hash_partitions, is_tick_store, read_manifest, verify_store
from aiopt.ticks.planted_edge import Edge, check_edge, edge_note, pull_of
from aiopt.ticks.schema import TickArrays
from aiopt.ticks.store import StoreBuild, build_store, locked
from aiopt.utc import DAY_NS, MINUTE_NS, MINUTES_PER_DAY

MODEL = "aiopt-sample-1"
"""Name of the model and its version: other ticks from equal parameters need another name."""

SYNTHETIC = "synthetic"
"""`Manifest.source_format` of generated ticks."""

DEFAULT_TICKS_PER_DAY = 134_000

_MINUTE_MS = 60_000

# By hours since 17:00 New York (Sydney, Tokyo, London, New York); scaled to a mean of 1 below.
_ACTIVITY = (
    *(0.15, 0.25, 0.50, 0.60, 0.55, 0.45, 0.40, 0.40),
    *(0.45, 0.80, 1.50, 1.55, 1.30, 1.15, 1.20, 1.90),
    *(2.05, 2.00, 1.65, 1.20, 1.05, 0.95, 0.75, 0.40),
)
# Median spread in price steps, same hours.
_SPREAD = (14.0, 7.0, 4.0, 3.5, 3.5, 3.5, 3.5, 3.5, 3.5, 3.0, *(2.0,) * 9, 2.5, 3.0, 3.5, 4.0, 6.0)

_ALPHA, _BETA = 0.045, 0.945
_OMEGA = 1.0 - _ALPHA - _BETA
_VARIANCE_RANGE = (0.15, 14.0)
_NEWS_MINUTE = 15 * 60 + 30  # 08:30 New York, counted from 17:00 the day before
_REGIMES = ("none", "trend_up", "trend_down", "range")
_START_PRICES = {"EURUSD": 1.085, "GBPUSD": 1.27, "USDJPY": 150.0, "XAUUSD": 2000.0, "BTCUSD": 60_000.0}


class SampleParameters(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What decides the generated ticks, and nothing else.

    Attributes
    ----------
    instrument : str
        Symbol.
    start : str
        First day, ``YYYY-MM-DD``, UTC.
    days : int
        Calendar days; the week-end has no ticks.
    ticks_per_day : int
        Mean over full days of 24 open hours.
    seed : int
        Not negative.
    model : str
        `MODEL`.
    edge : float or unset
        Sharpe ratio of a planted edge, see `aiopt.ticks.planted_edge`.
    """

    instrument: str = "EURUSD"
    start: str = "2024-03-01"
    days: int = 31
    ticks_per_day: int = DEFAULT_TICKS_PER_DAY
    seed: int = 7
    model: str = MODEL
    edge: Edge = msgspec.UNSET

    def __post_init__(self) -> None:
        rules = (("days", self.days, 1, 36_525), ("ticks_per_day", self.ticks_per_day, 1_000, 5_000_000))
        for name, value, low, high in (*rules, ("seed", self.seed, 0, 2**63 - 1)):
            if not low <= value <= high:
                msg = f"`{low} <= {name} <= {high}` must hold, but got {name}={value}. Change it."
                raise ConfigError(msg)
        try:
            first = dt.date.fromisoformat(self.start)
        except ValueError as failure:
            msg = f"`start` must be a day as YYYY-MM-DD, but got {self.start!r}. E.g. 2024-03-01."
            raise ConfigError(msg) from failure
        if not dt.date(1990, 1, 1) <= first < dt.date(2090, 1, 1):
            raise ConfigError(f"`start` must lie in 1990 … 2089, but got {self.start}. Change it.")
        check_edge(self.edge, self.instrument)


@dataclass
class _State:
    """What one minute hands to the next."""

    price: float  # in price steps
    home: float
    anchor: float
    variance: float = 1.0
    regime: str = "none"
    regime_left: int = 0
    pull: float = 0.0  # of a planted edge, per minute


# More than seven parameters: each but `out` and `progress` is one of `SampleParameters`, given by name.
# reason: keyword arguments with defaults, the fields of a sample and how it is written
def generate_ticks(  # noqa: PLR0913
    out: Path,
    *,
    instrument: str = "EURUSD",
    start: str = "2024-03-01",
    days: int = 31,
    ticks_per_day: int = DEFAULT_TICKS_PER_DAY,
    seed: int = 7,
    edge: Edge = msgspec.UNSET,
    replace: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Manifest:
    """Write a tick store of generated ticks; the same parameters give the same hashes on every machine.

    Parameters
    ----------
    out : Path
        Folder of the store: empty, absent, or already holding this sample, which is then left as it is.
    instrument, start, days, ticks_per_day, seed, edge
        See `SampleParameters`.
    replace : bool
        Replace another tick store in `out`.
    progress : callable, optional
        Called with days done and all days.

    Returns
    -------
    Manifest
        With ``synthetic=True``.

    Raises
    ------
    ConfigError
        If a parameter is out of range, or no hour of the span is in the FX week.
    DataError
        If `out` holds something else.
    StorageError
        If the disk is full or `out` cannot be written.
    """
    parameters = SampleParameters(
        instrument=_lookup(instrument).symbol,
        start=start,
        days=days,
        ticks_per_day=ticks_per_day,
        seed=seed,
        edge=edge,
    )
    out = Path(out)
    with locked(out):
        if _holds(out, parameters):
            return verify_store(out)
        with build_store(out, parameters.instrument, replace=replace) as build:
            manifest = _generate(build, parameters, progress)
            build.commit(manifest)
    return manifest


def sample_day(parameters: SampleParameters, day: int, state: object) -> TickArrays:
    """Return the ticks of one day and advance `state` (from `first_state`) to its end.

    Parameters
    ----------
    parameters : SampleParameters
        Which sample.
    day : int
        Days since the epoch; days are asked for in order, from the first one of the sample.
    state : object
        From `first_state`; changed in place.
    """
    if not isinstance(state, _State):
        raise TypeError(f"The state must come from first_state, but is a {type(state).__name__}.")
    item = _lookup(parameters.instrument)
    minutes, session_minute = _open_minutes(day, always_open=item.always_open)
    if minutes.size == 0:
        return _no_ticks()
    stream = np.random.PCG64(np.random.SeedSequence([parameters.seed, day]))
    activity, spread_base = _pattern(session_minute)
    counts = np.zeros(minutes.size, dtype=np.int64)
    base = np.empty(minutes.size)
    slope = np.empty(minutes.size)
    deviation = np.empty(minutes.size)
    widening = np.empty(minutes.size)
    # The number of ticks and the sums of steps of a minute come first: the recursion over minutes needs them.
    draws = stream.random_raw((minutes.size, 4))
    noise = _unit(draws[:, 0]) + _unit(draws[:, 1])
    steps_per_day = 0.005 * state.home
    minute_deviation = steps_per_day / math.sqrt(MINUTES_PER_DAY)
    returns = _standard(stream.random_raw(minutes.size))
    news = (_unit(draws[:, 2]) < 0.4) & (session_minute == _NEWS_MINUTE)
    opening = np.concatenate(([True], np.diff(minutes) > 1))
    opening[0] = session_minute[0] == 0
    uniform = _unit(draws[:, 3])
    for i in range(minutes.size):
        if opening[i]:  # Sunday evening, or a day that starts with the week
            state.price += minute_deviation * 8.0 * (2.0 * uniform[i] - 1.0)
        if news[i]:
            state.variance += 8.0
        _advance_regime(state, int(draws[i, 2]), minute_deviation)
        root = math.sqrt(state.variance)
        counts[i] = int(
            parameters.ticks_per_day / MINUTES_PER_DAY * activity[i] * (0.4 + 0.6 * root) * noise[i]
        )
        deviation[i] = minute_deviation * math.sqrt(activity[i]) * root
        base[i] = state.price
        slope[i] = _drift(state, deviation[i]) + deviation[i] * returns[i]
        widening[i] = math.sqrt(root)
        state.price += slope[i]
        state.anchor += (state.price - state.anchor) / 720.0
        square = returns[i] * returns[i]
        state.variance = min(
            max(_OMEGA + _ALPHA * state.variance * square + _BETA * state.variance, _VARIANCE_RANGE[0]),
            _VARIANCE_RANGE[1],
        )
    return _quotes(stream, item, minutes, counts, (base, slope, deviation, widening * spread_base))


def first_state(parameters: SampleParameters) -> object:
    """Return the state in which a sample starts."""
    item = _lookup(parameters.instrument)
    price = _START_PRICES.get(item.symbol, math.sqrt(item.plausible_low * item.plausible_high))
    steps = float(round(price * item.price_scale))
    return _State(price=steps, home=steps, anchor=steps, pull=pull_of(parameters.edge))


def _generate(
    build: StoreBuild, parameters: SampleParameters, progress: Callable[[int, int], None] | None
) -> Manifest:
    item = _lookup(parameters.instrument)
    validator = Validator(item, DEFAULT_RULES)
    state = first_state(parameters)
    first = (dt.date.fromisoformat(parameters.start) - dt.date(1970, 1, 1)).days
    for number in range(parameters.days):
        ticks = sample_day(parameters, first + number, state)
        if len(ticks):
            _judge(validator, ticks)
            build.write_day(first + number, ticks)
        if progress is not None:
            progress(number + 1, parameters.days)
    parts = build.partitions
    if not parts:
        span = f"{parameters.days} day(s) from {parameters.start}"
        msg = f"The market is closed in all of {span}. Raise days or start on a weekday."
        raise ConfigError(msg)
    rows = sum(part.rows for part in parts)
    planted = () if parameters.edge is msgspec.UNSET else (parameters.edge,)
    return Manifest(
        aiopt_version=aiopt.__version__,
        instrument=item.symbol,
        source=_describe(parameters),
        source_format=SYNTHETIC,
        source_hash=content_hash(parameters),
        synthetic=True,
        data_hash=hash_partitions(parts),
        rows=rows,
        rows_read=rows,
        first_ts_ns=parts[0].first_ts_ns,
        last_ts_ns=parts[-1].last_ts_ns,
        settings={"model": parameters.model} | ({"edge": f"{parameters.edge:g}"} if planted else {}),
        rules=validator.counts(),
        silent_hours=[],
        notes=[
            "Generated ticks: no market ever quoted these prices.",
            *(edge_note(edge) for edge in planted),
        ],
        files=[],
        partitions=parts,
    )


def _judge(validator: Validator, ticks: TickArrays) -> None:
    """Count with the rules of real data; the model must not break one that drops ticks."""
    rows = np.arange(len(ticks), dtype=np.int64)
    kept = validator.check_day(
        validator.check_rows(SourcedTicks(ticks, np.zeros(len(ticks), dtype=np.int32), rows))
    )
    if len(kept) != len(ticks):
        raise AssertionError(f"the sample model made {len(ticks) - len(kept)} ticks that validation drops")


def _quotes(
    stream: np.random.PCG64,
    item: Instrument,
    minutes: NDArray[np.int64],
    counts: NDArray[np.int64],
    levels: tuple[NDArray[np.float64], ...],
) -> TickArrays:
    """Fill each minute with ticks: a bridge of fat-tailed steps from its first price to its last."""
    base, slope, deviation, spread_base = levels
    total = int(counts.sum())
    if total == 0:
        return _no_ticks()
    minute = np.repeat(np.arange(minutes.size), counts)
    start = np.repeat(np.cumsum(counts) - counts, counts)
    place = np.arange(total) - start
    n = counts[minute]
    walk_raw = stream.random_raw(total)
    raw = stream.random_raw(total)
    # Strictly increasing milliseconds: sorted draws of a shortened minute, plus the place in the minute.
    span = np.maximum(_MINUTE_MS - n, 1).astype(np.uint64)
    offset = ((raw >> np.uint64(32)) * span) >> np.uint64(32)
    offset = np.sort(minute * _MINUTE_MS + offset.astype(np.int64)) - minute * _MINUTE_MS
    stamp_ms = minutes[minute] * _MINUTE_MS + offset + place
    step = _step(walk_raw) * np.where(raw & np.uint64(31), 2, 7)
    walk = np.cumsum(step)
    before = np.where(start > 0, walk[start - 1], 0)
    last = walk[start + n - 1]
    # A bridge: the steps so far minus their share of the minute's sum, so that the minute ends on `slope`.
    done = (place + 1) / n
    bridge = (walk - before) - (last - before) * done
    scale = deviation[minute] * 0.7 / (_STEP_DEVIATION * 2.5 * np.sqrt(n.astype(np.float64)))
    mid = base[minute] + slope[minute] * done + bridge * scale
    wobble = ((raw >> np.uint64(5)) & np.uint64(1023)).astype(np.float64) / 1024.0
    spread = 1.0 + np.floor(spread_base[minute] * (0.35 + wobble * wobble))
    bid_points = np.rint(mid - spread / 2.0)
    sizes = [((raw >> np.uint64(shift)) & np.uint64(63)).astype(np.float64) + 1.0 for shift in (16, 22)]
    return TickArrays(
        stamp_ms * 1_000_000,
        bid_points / item.price_scale,
        (bid_points + spread) / item.price_scale,
        sizes[0] * 50_000.0,
        sizes[1] * 50_000.0,
    )


def _drift(state: _State, deviation: float) -> float:
    pull = (state.home - state.price) / 90_000.0
    if state.pull:
        return pull + (state.anchor - state.price) * state.pull
    if state.regime == "trend_up":
        return pull + 0.03 * deviation
    if state.regime == "trend_down":
        return pull - 0.03 * deviation
    if state.regime == "range":
        return pull + (state.anchor - state.price) / 400.0
    return pull


def _advance_regime(state: _State, draw: int, minute_deviation: float) -> None:
    if state.pull:
        return  # a planted edge is always there
    if state.regime_left > 0:
        state.regime_left -= 1
        return
    state.regime = _REGIMES[(draw >> 3) & 3]
    state.regime_left = 60 + ((draw >> 5) & 511)
    state.anchor = state.price


def _open_minutes(day: int, *, always_open: bool) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the open minutes of a day (since the epoch) and their place in the session day, from 17:00."""
    minutes = np.arange(day * MINUTES_PER_DAY, (day + 1) * MINUTES_PER_DAY, dtype=np.int64)
    starts = minutes * MINUTE_NS
    if not always_open:
        inside = open_time_ns(starts, starts + MINUTE_NS) > 0
        minutes, starts = minutes[inside], starts[inside]
    if minutes.size == 0:
        return minutes, minutes
    # Open time since the week before, modulo a day, is the time since 17:00 New York.
    reference = np.full(minutes.size, (day - 7) * DAY_NS, dtype=np.int64)
    elapsed = open_time_ns(reference, starts) // MINUTE_NS
    origin = open_time_ns(reference[:1], _next_open(day - 7)) // MINUTE_NS
    return minutes, (elapsed - origin) % MINUTES_PER_DAY


def _next_open(day: int) -> NDArray[np.int64]:
    """Return the stamp at which a session day of the week after `day` opens: a Sunday 17:00 New York."""
    minutes = np.arange(day * MINUTES_PER_DAY, (day + 7) * MINUTES_PER_DAY, dtype=np.int64) * MINUTE_NS
    inside = open_time_ns(minutes, minutes + MINUTE_NS) > 0
    opening = np.flatnonzero(inside[1:] & ~inside[:-1])[0] + 1
    return minutes[opening : opening + 1]


def _pattern(session_minute: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return activity (mean 1 over a day) and spread base per minute, linear between the hours' middles."""
    mean = sum(_ACTIVITY) / 24.0
    result = []
    for values in ([value / mean for value in _ACTIVITY], list(_SPREAD)):
        table = np.array(values)
        shifted = (session_minute - 30) % MINUTES_PER_DAY
        hour, part = shifted // 60, (shifted % 60) / 60.0
        result.append(table[hour] * (1.0 - part) + table[(hour + 1) % 24] * part)
    return result[0], result[1]


# The sum of four uniform 16-bit integers minus its mean is nearly normal, with this standard deviation.
_STEP_DEVIATION = math.sqrt((2.0**32 - 1.0) / 3.0)


def _step(raw: NDArray[np.uint64]) -> NDArray[np.int64]:
    parts = [((raw >> np.uint64(shift)) & np.uint64(0xFFFF)).astype(np.int64) for shift in (0, 16, 32, 48)]
    return parts[0] + parts[1] + parts[2] + parts[3] - 2 * 0xFFFF


def _standard(raw: NDArray[np.uint64]) -> NDArray[np.float64]:
    """Return nearly normal numbers of mean 0 and variance 1, with fat tails on one in 32."""
    tail = np.where((raw >> np.uint64(7)) & np.uint64(31), 0.94, 2.1)
    return np.asarray(_step(raw) / _STEP_DEVIATION * tail)


def _unit(raw: NDArray[np.uint64]) -> NDArray[np.float64]:
    return np.asarray((raw >> np.uint64(11)).astype(np.float64) * 2.0**-53)


def _no_ticks() -> TickArrays:
    return TickArrays(np.zeros(0, dtype=np.int64), np.zeros(0), np.zeros(0), np.zeros(0), np.zeros(0))


def _holds(out: Path, parameters: SampleParameters) -> bool:
    return is_tick_store(out) and read_manifest(out).source_hash == content_hash(parameters)


def _describe(parameters: SampleParameters) -> str:
    planted = (
        "" if parameters.edge is msgspec.UNSET else f", planted edge of Sharpe ratio {parameters.edge:g}"
    )
    return (
        f"generated ({parameters.model}): {parameters.instrument}, {parameters.days} days from "
        f"{parameters.start}, seed {parameters.seed}{planted}"
    )


def _lookup(symbol: str) -> Instrument:
    return instrument(symbol)
