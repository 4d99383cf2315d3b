"""The spread of one-sided bars: a constant, or a table by hour that ticks were measured for.

Owns the table, its file, its estimate from a tick store, and how many price steps a bar gets.  Knows nothing
of bar files and of runs.  A spread is applied in whole price steps, rounded up, so that costs are never
understated and ask prices lie on the grid of the bid.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np
import polars as pl
import yaml
from numpy.typing import NDArray

from aiopt.bars.stops.stop_slippage import StopSlippage
from aiopt.config import decode, read_mapping
from aiopt.errors import ConfigError, DataError, did_you_mean
from aiopt.files import atomic_write_text
from aiopt.market.instrument import Instrument
from aiopt.market.instrument import instrument as find_instrument
from aiopt.ticks.manifest import read_manifest
from aiopt.ticks.schema import price_steps
from aiopt.ticks.shards import map_ticks, plan_shards
from aiopt.utc import HOUR_NS, stamp_text

By = Literal["hour", "hour_of_week"]

ZONE = "America/New_York"
"""Clock of the table's hours: the FX week, its rollover and the news all follow it."""

FORMAT = "aiopt spread model 1"
STATISTICS = ("mean", "median", "p75", "p90", "p95", "p99")
"""What of a table can be the spread of a bar."""

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_QUANTILES = {"median": 0.5, "p05": 0.05, "p25": 0.25, "p75": 0.75, "p90": 0.9, "p95": 0.95, "p99": 0.99}
_WIDEST = 20_000


class SpreadConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The spread that one-sided bars get.

    Attributes
    ----------
    pips : float or None
        The same for every bar; whole price steps of the instrument (0.1 pips).
    file : str or None
        Table that ``aiopt ticks spread-model`` wrote.
    statistic : str
        Which column of the table, one of `STATISTICS`.
    """

    pips: float | None = None
    file: str | None = None
    statistic: str = "mean"

    def __post_init__(self) -> None:
        if self.pips is not None and self.file is not None:
            msg = f"A spread must be given once, but got pips={self.pips:g} and file={self.file!r}."
            raise ConfigError(msg + " Leave one out.")
        if self.pips is not None and not 0 < self.pips <= 10_000:
            msg = f"`0 < spread.pips <= 10000` must hold, but got {self.pips:g}. Give the spread in pips."
            raise ConfigError(msg)
        if self.statistic not in STATISTICS:
            msg = f"`spread.statistic` must be one of {', '.join(STATISTICS)}, but got {self.statistic!r}."
            raise ConfigError(msg + did_you_mean(self.statistic, STATISTICS))

    @property
    def given(self) -> bool:
        """Whether there is a spread at all."""
        return self.pips is not None or self.file is not None


class SpreadRow(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The spread of one hour in pips, over `ticks` ticks.

    `at` is ``"17"`` or ``"Sun 17"``: the hour from 17:00 to 18:00 New York.  Quantile q of n sorted spreads
    is the one at place ``ceil(q n)``.
    """

    at: str
    ticks: int
    mean: float
    p05: float
    p25: float
    median: float
    p75: float
    p90: float
    p95: float
    p99: float
    max: float


class SpreadModel(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Spreads by hour, and the ticks they were measured on.

    Attributes
    ----------
    format : str
        `FORMAT`.
    instrument : str
        Symbol.
    by : {"hour", "hour_of_week"}
        What a row stands for.
    timezone : str
        Clock of the hours, `ZONE`.
    source : str
        `Manifest.source` of the ticks.
    data_hash : str
        Of the tick store.
    synthetic : bool
        True if the ticks were generated, not traded.
    first, last : str
        Span of the ticks, UTC.
    ticks : int
        Ticks measured.
    crossed : int
        Ticks left out because ask lay below bid.
    hours : list of SpreadRow
        In the order of the day or the week; hours without ticks are absent.
    stops : StopSlippage or None
        By how much the same ticks filled stops beyond their price; None where that was not measured.
    """

    format: str
    instrument: str
    by: By
    timezone: str
    source: str
    data_hash: str
    synthetic: bool
    first: str
    last: str
    ticks: int
    crossed: int
    hours: list[SpreadRow]
    stops: StopSlippage | None = None

    def __post_init__(self) -> None:
        if self.format != FORMAT:
            raise ConfigError(f"A spread model must be of format {FORMAT!r}, but got {self.format!r}.")
        if self.timezone != ZONE:
            raise ConfigError(f"A spread model must count hours in {ZONE}, but got {self.timezone!r}.")
        names = set(_labels(self.by))
        places = [row.at for row in self.hours]
        unknown = next((at for at in places if at not in names), None)
        if unknown is not None:
            raise ConfigError(f"A row of a model by {self.by} must be an hour of it, but got {unknown!r}.")
        if not places or len(places) != len(set(places)):
            raise ConfigError("A spread model must have one row for each hour, and at least one. Mend it.")
        for row in self.hours:
            values = [getattr(row, name) for name in STATISTICS]
            if not all(np.isfinite(value) and 0 <= value <= 10_000 for value in values):
                msg = f"Spreads must be 0 … 10000 pips, but those of {row.at} are {values}. Mend the file."
                raise ConfigError(msg)


@dataclass(frozen=True)
class Spread:
    """A spread that can be added to bars.

    Attributes
    ----------
    description : str
        What it is, in words, for every page.
    identity : dict
        What decides it, for the hash of a run: the values, not the path of the file.
    steps : callable
        Opening times of bars (int64 UTC ns) to price steps (int64) per bar.
    """

    description: str
    identity: dict[str, Any]
    steps: Callable[[NDArray[np.int64]], NDArray[np.int64]]


def load_spread(config: SpreadConfig, instrument: Instrument, timeframe_ns: int) -> Spread:
    """Return the spread a configuration names.

    Parameters
    ----------
    config : SpreadConfig
        With `SpreadConfig.given`.
    instrument : Instrument
        Whose bars.
    timeframe_ns : int
        Length of the bars it is to be added to; a table needs bars of an hour at most.

    Raises
    ------
    ConfigError
        If the constant is not on the price grid, or the file is no model, of another instrument, or its hours
        are shorter than the bars.
    """
    if config.pips is not None:
        return _constant(config.pips, instrument)
    if config.file is None:
        raise ConfigError("A spread must have `pips` or `file`, but has neither. Add one.")
    model = read_spread_model(Path(config.file))
    if model.instrument != instrument.symbol:
        msg = f"{config.file}: the model must be of {instrument.symbol}, but is of {model.instrument}."
        raise ConfigError(msg + f" Estimate one from ticks of {instrument.symbol}.")
    if timeframe_ns > HOUR_NS:
        msg = f"A spread by hour needs bars of an hour or less, but these last {timeframe_ns // HOUR_NS} h: "
        raise ConfigError(msg + "one bar has many spreads. Give finer bars, or a constant (`spread: pips`).")
    return _by_hour(model, config.statistic, instrument)


def estimate_spread_model(
    ticks_dir: Path,
    *,
    by: By = "hour",
    progress: Callable[[int, int], None] | None = None,
) -> SpreadModel:
    """Measure the spread of a tick store by hour of the day or of the week, New York time.

    Every tick counts once; ticks whose ask lies below the bid are left out and counted.

    Parameters
    ----------
    ticks_dir : Path
        Tick store.
    by : {"hour", "hour_of_week"}
        Rows of the table.
    progress : callable, optional
        Called with ticks done and all ticks.

    Raises
    ------
    ManifestError
        If the store is not what its manifest says.
    DataError
        If no tick is left.
    """
    manifest = read_manifest(Path(ticks_dir))
    item = find_instrument(manifest.instrument)
    labels = _labels(by)
    counts = np.zeros((len(labels), _WIDEST + 1), dtype=np.int64)
    sums = np.zeros(len(labels), dtype=np.int64)
    largest = np.zeros(len(labels), dtype=np.int64)
    crossed = done = 0
    for shard in plan_shards(Path(ticks_dir), manifest):
        for ticks in map_ticks(shard, ("ts_event_ns", "bid", "ask"), dict):
            steps = price_steps(ticks["ask"], item) - price_steps(ticks["bid"], item)
            good = steps >= 0
            crossed += int(np.count_nonzero(~good))
            places = places_of(ticks["ts_event_ns"][good], by)
            steps = steps[good]
            keys = places * (_WIDEST + 1) + np.minimum(steps, _WIDEST)
            counts += np.bincount(keys, minlength=counts.size).reshape(counts.shape)
            np.add.at(sums, places, steps)
            np.maximum.at(largest, places, steps)
            done += good.size
            if progress is not None:
                progress(done, manifest.rows)
    if not counts.any():
        msg = "A spread model needs ticks whose ask is not below the bid, but the store has none."
        raise DataError(msg, file=ticks_dir)
    return SpreadModel(
        format=FORMAT,
        instrument=item.symbol,
        by=by,
        timezone=ZONE,
        source=manifest.source,
        data_hash=manifest.data_hash,
        synthetic=manifest.synthetic,
        first=stamp_text(manifest.first_ts_ns),
        last=stamp_text(manifest.last_ts_ns),
        ticks=int(counts.sum()),
        crossed=crossed,
        hours=[
            _row(label, counts[place], int(sums[place]), int(largest[place]), item)
            for place, label in enumerate(labels)
            if counts[place].any()
        ],
    )


def write_spread_model(path: Path, model: SpreadModel) -> None:
    """Write a model as YAML, one line per hour, atomically.

    Raises
    ------
    StorageError
        If the disk is full or the folder is not writable.
    """
    document = msgspec.to_builtins(model)
    rows = document.pop("hours")
    lines = [
        "# Spreads in pips, measured by `aiopt ticks spread-model`; hours begin at this New York time.",
        yaml.safe_dump(document, sort_keys=False, allow_unicode=True).rstrip(),
        "hours:",
    ]
    for row in rows:
        fields = ", ".join(
            f"{name}: {value:g}" if isinstance(value, float) else f"{name}: {value!r}"
            for name, value in row.items()
        )
        lines.append(f"  - {{{fields}}}")
    atomic_write_text(Path(path), "\n".join(lines) + "\n")


def read_spread_model(path: Path) -> SpreadModel:
    """Read a model.

    Raises
    ------
    ConfigError
        If the file is missing or breaks a rule; names the key.
    """
    return decode(read_mapping(Path(path)), SpreadModel, where=str(path))


def places_of(ts_ns: NDArray[np.int64], by: By) -> NDArray[np.int64]:
    """Return the row of a table, from 0, in which each stamp lies.

    Parameters
    ----------
    ts_ns : ndarray of int64, shape (n,)
        UTC nanoseconds.
    by : {"hour", "hour_of_week"}
        24 rows from midnight, or 168 from Monday, midnight; both New York.
    """
    # New York is whole hours from UTC since 1967, so an hour there is an hour of UTC.
    hours, inverse = np.unique(np.asarray(ts_ns, dtype=np.int64) // HOUR_NS, return_inverse=True)
    local = (
        pl.Series(hours * HOUR_NS)
        .cast(pl.Datetime("ns", "UTC"))
        .dt.convert_time_zone(ZONE)
        .alias("local")
        .to_frame()
        .select(
            hour=pl.col("local").dt.hour().cast(pl.Int64), day=pl.col("local").dt.weekday().cast(pl.Int64) - 1
        )
    )
    place = local["hour"].to_numpy() + (24 * local["day"].to_numpy() if by == "hour_of_week" else 0)
    return np.asarray(place[inverse], dtype=np.int64)


def _constant(pips: float, item: Instrument) -> Spread:
    per_pip = item.steps_per_pip
    steps = round(pips * per_pip)
    if steps < 1 or abs(pips * per_pip - steps) > 1e-6:
        below, above = max(1, int(pips * per_pip)), int(pips * per_pip) + 1
        msg = (
            f"A constant spread of {item.symbol} must be whole price steps of {1 / per_pip:g} pips, but got "
            f"{pips:g} pips. Use {below / per_pip:g} or {above / per_pip:g}."
        )
        raise ConfigError(msg)
    return Spread(
        description=f"constant {pips:g} pips, added to one-sided bars",
        identity={"pips": steps / per_pip},
        steps=lambda ts: np.full(ts.shape, steps, dtype=np.int64),
    )


def _by_hour(model: SpreadModel, statistic: str, item: Instrument) -> Spread:
    labels = _labels(model.by)
    per_pip = item.steps_per_pip
    table = np.full(len(labels), -1, dtype=np.int64)
    for row in model.hours:
        # Rounded up to the grid; what a decimal fraction of a whole step adds in binary is no step.
        table[labels.index(row.at)] = int(np.ceil(round(getattr(row, statistic) * per_pip, 6)))

    def steps(ts_ns: NDArray[np.int64]) -> NDArray[np.int64]:
        places = places_of(ts_ns, model.by)
        found = table[places]
        if (found < 0).any():
            absent = [labels[place] for place in np.unique(places[found < 0]).tolist()]
            some = ", ".join(absent[:6]) + (", …" if len(absent) > 6 else "")
            msg = (
                f"The spread model must cover every hour of the bars, but has no ticks at {some} New York "
                f"({int(np.count_nonzero(found < 0)):,} bars, the first at "
                f"{stamp_text(int(ts_ns[int(np.argmax(found < 0))]))[:16]}). "
            )
            other = " by hour of the day, or" if model.by == "hour_of_week" else ""
            raise DataError(
                msg + f"Estimate one{other} from more ticks, or give a constant (`spread: pips`)."
            )
        return np.asarray(found)

    known = table[table >= 0] / per_pip
    origin = "SYNTHETIC ticks" if model.synthetic else f"{model.ticks:,} ticks of {model.source}"
    what = "hour of the week" if model.by == "hour_of_week" else "hour of the day"
    return Spread(
        description=(
            f"{statistic} by {what} in New York, {known.min():g} to {known.max():g} pips, added to one-sided "
            f"bars; measured on {origin}, {model.first[:10]} to {model.last[:10]}"
        ),
        identity={
            "by": model.by,
            "pips": {labels[place]: table[place] / per_pip for place in np.flatnonzero(table >= 0).tolist()},
        },
        steps=steps,
    )


def _labels(by: By) -> list[str]:
    hours = [f"{hour:02d}" for hour in range(24)]
    return hours if by == "hour" else [f"{day} {hour}" for day in _DAYS for hour in hours]


def _row(
    label: str, counts: NDArray[np.int64], total_steps: int, largest: int, item: Instrument
) -> SpreadRow:
    per_pip = item.steps_per_pip
    reached = np.cumsum(counts)
    ticks = int(reached[-1])
    places = {name: int(np.ceil(round(share * ticks, 6))) for name, share in _QUANTILES.items()}
    quantiles = {
        name: int(np.searchsorted(reached, place, side="left")) / per_pip for name, place in places.items()
    }
    mean = round(total_steps / ticks / per_pip, 4)
    return SpreadRow(at=label, ticks=ticks, mean=mean, max=largest / per_pip, **quantiles)
