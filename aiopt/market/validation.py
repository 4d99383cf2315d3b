"""What can be wrong with ticks, and what is done about it: named rules, counted per rule and per hour.

Owns the rules, their defaults and the order they are applied in.  Knows nothing of files beyond the name and
row it puts into a message.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

import msgspec
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import median_filter

from aiopt.errors import ConfigError, DataError, did_you_mean
from aiopt.market.calendar import is_open, open_time_ns
from aiopt.market.instrument import Instrument
from aiopt.market.manifest import RuleCount
from aiopt.market.ticks import DAY_NS, HOUR_NS, TickArrays, hour_text, round_price, stamp_text

Treatment = Literal["keep", "drop", "fail"]

SPIKE_WINDOW = 11
"""Ticks of the running median a spike is measured against; a step of five or more ticks is no spike."""

SPIKE_SCALE_WINDOW = 51
"""Ticks whose median change is the local scale of a spike."""

_EARLIEST_NS = 7305 * DAY_NS  # 1990-01-01
_LATEST_NS = 47482 * DAY_NS  # 2100-01-01


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    """A rule of validation.

    Attributes
    ----------
    name : str
        As on the command line.
    text : str
        What a tick that breaks it is.
    default : {"keep", "drop", "fail"}
        Treatment when none is asked for.
    allowed : tuple of str
        Treatments that make sense.
    remedy : str
        For the message of `fail`.
    """

    name: str
    text: str
    default: Treatment
    allowed: tuple[Treatment, ...] = ("keep", "drop", "fail")
    remedy: str = "Mend the source, or drop such ticks with --rule {name}=drop."


RULES: dict[str, Rule] = {
    rule.name: rule
    for rule in (
        Rule(
            name="missing_hour",
            text="an hour of the open market for which a source of hour files has no file",
            default="fail",
            allowed=("keep", "fail"),
            remedy="Download it again, or accept the hole with --rule missing_hour=keep.",
        ),
        Rule(
            name="implausible_time",
            text="a stamp before 1990 or after 2099",
            default="fail",
            allowed=("drop", "fail"),
        ),
        Rule(
            name="non_finite",
            text="a bid or ask that is missing, NaN or infinite",
            default="fail",
            allowed=("drop", "fail"),
        ),
        Rule(
            name="non_positive", text="a bid or ask of zero or less", default="fail", allowed=("drop", "fail")
        ),
        Rule(
            name="implausible_price",
            text="a bid or ask outside the instrument's plausible range: another instrument or a wrong scale",
            default="fail",
            allowed=("drop", "fail"),
            remedy="Name the right instrument with --instrument, or drop such ticks with --rule {name}=drop.",
        ),
        Rule(
            name="bad_size",
            text="a size that is negative or not finite (kept: set to 0)",
            default="fail",
            remedy="Mend the source, or set such sizes to 0 with --rule bad_size=keep.",
        ),
        Rule(
            name="off_grid",
            text="a price with more decimals than the instrument quotes (kept: rounded)",
            default="keep",
        ),
        Rule(
            name="backward",
            text="a stamp before that of an earlier row of the source (kept: sorted into place)",
            default="keep",
        ),
        Rule(name="crossed", text="ask below bid", default="drop"),
        Rule(name="zero_spread", text="ask equal to bid", default="keep"),
        Rule(name="out_of_session", text="a tick while the FX week is closed", default="keep"),
        Rule(
            name="duplicate",
            text="stamp, bid and ask equal to those of the tick before",
            default="drop",
        ),
        Rule(
            name="same_stamp", text="stamp equal to that of the tick before, bid or ask not", default="keep"
        ),
        Rule(
            name="spike",
            text="a mid more than `spike_z` scales from the median of the eleven ticks around it",
            default="drop",
        ),
        Rule(
            name="gap",
            text="more than `gap_s` seconds of open market between two ticks",
            default="keep",
            allowed=("keep", "fail"),
            remedy="Complete the source, or accept the gap with --rule gap=keep.",
        ),
    )
}
"""All rules, in the order they are applied.  A tick that was dropped is not judged by later rules."""


class ValidationRules(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How each rule treats the ticks that break it.

    Attributes
    ----------
    treatments : dict of str to str
        Rule to ``"keep"``, ``"drop"`` or ``"fail"``, where it differs from the rule's default.
    spike_z : float
        Threshold of `spike`, in scales.  The scale is 1.4826 times the median absolute change of the mid,
        between the day's ticks that change it or between the 51 ticks around, whichever is more (so that
        the seconds after a news release are measured by themselves), and at least one price step.
    gap_s : float
        Threshold of `gap`, in seconds of open market.
    """

    treatments: dict[str, str] = {}
    spike_z: float = 30.0
    gap_s: float = 300.0

    def __post_init__(self) -> None:
        for name, treatment in self.treatments.items():
            if name not in RULES:
                raise ConfigError(f"A rule must be known, but got {name!r}.{did_you_mean(name, RULES)}")
            if treatment not in RULES[name].allowed:
                allowed = ", ".join(RULES[name].allowed)
                msg = f"The treatment of {name} must be one of {allowed}, but got {treatment!r}. Choose one."
                raise ConfigError(msg)
        for name in ("spike_z", "gap_s"):
            if not 0 < getattr(self, name) < float("inf"):
                raise ConfigError(f"`{name} > 0` must hold, but got {name}={getattr(self, name)}. Raise it.")

    def treatment(self, name: str) -> str:
        """Return the treatment of a rule."""
        return self.treatments.get(name, RULES[name].default)

    def settings(self) -> dict[str, str]:
        """Return everything that decides what is kept, as text for the manifest."""
        result = {f"rule.{name}": self.treatment(name) for name in RULES}
        return result | {"spike_z": f"{self.spike_z:g}", "gap_s": f"{self.gap_s:g}"}


DEFAULT_RULES = ValidationRules()


def parse_rules(texts: Sequence[str]) -> ValidationRules:
    """Parse ``NAME=TREATMENT`` and the thresholds ``spike_z=NUMBER``, ``gap_s=NUMBER``.

    Raises
    ------
    ConfigError
        If a text is neither.

    Examples
    --------
    >>> parse_rules(["crossed=fail", "gap_s=600"]).treatment("crossed")
    'fail'
    """
    treatments: dict[str, str] = {}
    thresholds: dict[str, float] = {}
    for text in texts:
        name, equals, value = (part.strip() for part in text.partition("="))
        if not equals:
            raise ConfigError(f"A rule must be given as NAME=TREATMENT, but got {text!r}. E.g. crossed=drop.")
        if name in {"spike_z", "gap_s"}:
            thresholds[name] = _number(name, value)
        else:
            treatments[name] = value
    return ValidationRules(treatments=treatments, **thresholds)


@dataclass(frozen=True, eq=False, slots=True)
class SourcedTicks:
    """Ticks that know where they were read.

    Attributes
    ----------
    ticks : TickArrays
        Shape (n,).
    file : ndarray of int32, shape (n,)
        Index into the files of the source.
    row : ndarray of int64, shape (n,)
        0-based record or row in the file.
    """

    ticks: TickArrays
    file: NDArray[np.int32]
    row: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.ticks)

    def take(self, index: NDArray[Any]) -> SourcedTicks:
        """Return the ticks of an index array or a mask."""
        return SourcedTicks(self.ticks.take(index), self.file[index], self.row[index])


@dataclass
class _Tally:
    """Counts of one rule."""

    found: int = 0
    dropped: int = 0
    hours: Counter[int] = field(default_factory=Counter)
    first: DataError | None = None


class Validator:
    """Apply the rules to ticks as they come, and count.

    Rows of the source go through `check_rows` in the order of the source; the days made of what is left
    go through `check_day` in order of time.

    Parameters
    ----------
    instrument : Instrument
        What the ticks should be of.
    rules : ValidationRules
        Treatments and thresholds.
    files : sequence of Path
        What `SourcedTicks.file` counts.
    strict : bool
        Raise at the first tick that breaks a rule of treatment ``fail``.  Otherwise such ticks are counted
        and dropped, and `failures` has the first of each rule.
    """

    def __init__(
        self,
        instrument: Instrument,
        rules: ValidationRules = DEFAULT_RULES,
        *,
        files: Sequence[Path] = (),
        strict: bool = True,
    ) -> None:
        self.instrument = instrument
        self.rules = rules
        self._files = files
        self._strict = strict
        self._tallies = {name: _Tally() for name in RULES}
        self._dropped_hours: Counter[int] = Counter()
        self._latest_ns = -(2**63)
        self._last_kept: tuple[int, float, float] | None = None

    def check_rows(self, batch: SourcedTicks) -> SourcedTicks:
        """Apply the rules that look at one tick, and `backward`; return what is left, prices rounded."""
        low, high = self.instrument.plausible_low, self.instrument.plausible_high
        ts = batch.ticks.ts_event_ns
        batch = self._apply("implausible_time", (ts < _EARLIEST_NS) | (ts >= _LATEST_NS), batch)
        batch = self._apply("non_finite", _either(batch, lambda price: ~np.isfinite(price)), batch)
        batch = self._apply("non_positive", _either(batch, lambda price: price <= 0), batch)
        beyond = _either(batch, lambda price: (price < low) | (price > high))
        batch = self._check_sizes(self._apply("implausible_price", beyond, batch))
        batch = self._check_backward(self._round(batch))
        bid, ask = batch.ticks.bid, batch.ticks.ask
        batch = self._apply("crossed", ask < bid, batch)
        batch = self._apply("zero_spread", batch.ticks.ask == batch.ticks.bid, batch)
        if self.instrument.always_open:
            return batch
        return self._apply("out_of_session", ~is_open(batch.ticks.ts_event_ns), batch)

    def check_day(self, batch: SourcedTicks) -> SourcedTicks:
        """Apply the rules that compare ticks with their neighbours; return what is left.

        Parameters
        ----------
        batch : SourcedTicks
            All ticks of one day in order of time, ticks of equal stamp in the order of the source.
        """
        if not len(batch):
            return batch
        same_stamp, same_quote = self._repeats(batch.ticks)
        left = ~(same_stamp & same_quote) if self._drops("duplicate") else np.ones(len(batch), dtype=bool)
        batch = self._apply("duplicate", same_stamp & same_quote, batch)
        batch = self._apply("same_stamp", (same_stamp & ~same_quote)[left], batch)
        batch = self._apply("spike", self._spikes(batch.ticks), batch)
        if len(batch):
            self._check_gaps(batch)
            ticks = batch.ticks
            self._last_kept = (int(ticks.ts_event_ns[-1]), float(ticks.bid[-1]), float(ticks.ask[-1]))
        return batch

    def check_missing_hours(self, hours: Sequence[int], source: Path) -> None:
        """Count hours of the open market the source has no file for; hours since the epoch."""
        tally = self._tallies["missing_hour"]
        tally.found += len(hours)
        tally.hours.update(hours)
        if hours and self.rules.treatment("missing_hour") == "fail":
            more = "" if len(hours) == 1 else f" and {len(hours) - 1} more"
            which = f"{hour_text(hours[0])} (UTC){more}"
            msg = f"Every hour of the open market must have a file, but {which} has none."
            self._fail("missing_hour", DataError(f"{msg} {RULES['missing_hour'].remedy}", file=source))

    def counts(self) -> list[RuleCount]:
        """Return what each rule found so far."""
        return [
            RuleCount(
                rule=name,
                treatment=self.rules.treatment(name),
                found=tally.found,
                dropped=tally.dropped,
                hours={hour_text(hour): count for hour, count in sorted(tally.hours.items())},
            )
            for name, tally in self._tallies.items()
        ]

    def failures(self) -> dict[str, DataError]:
        """Return the first failure of each rule of treatment ``fail`` that found something."""
        return {name: tally.first for name, tally in self._tallies.items() if tally.first is not None}

    def dropped_in_hour(self, hour: int) -> int:
        """Return how many ticks of an hour (since the epoch) were dropped so far."""
        return self._dropped_hours[hour]

    def _drops(self, name: str) -> bool:
        return self.rules.treatment(name) != "keep"

    def _apply(self, name: str, broken: NDArray[np.bool_], batch: SourcedTicks) -> SourcedTicks:
        """Count the ticks that break a rule and treat them."""
        found = int(np.count_nonzero(broken))
        if not found:
            return batch
        tally = self._tallies[name]
        tally.found += found
        hours = _count_hours(batch.ticks.ts_event_ns[broken])
        tally.hours.update(hours)
        if self.rules.treatment(name) == "fail":
            self._fail(name, self._error(name, batch, int(np.argmax(broken))))
        if not self._drops(name):
            return batch
        tally.dropped += found
        self._dropped_hours.update(hours)
        return batch.take(~broken)

    def _fail(self, name: str, error: DataError) -> None:
        if self._strict:
            raise error
        if self._tallies[name].first is None:
            self._tallies[name].first = error

    def _error(self, name: str, batch: SourcedTicks, at: int) -> DataError:
        ticks = batch.ticks
        values = ", ".join(f"{column}={array[at]:g}" for column, array in list(ticks.columns())[1:])
        # `:g` would round a price away; show prices in full.
        values = f"bid={float(ticks.bid[at])!r}, ask={float(ticks.ask[at])!r}, " + values.split(", ", 2)[2]
        if name == "implausible_price":
            item = self.instrument
            text = f"Prices of {item.symbol} must lie in {item.plausible_low:g} … {item.plausible_high:g}"
        else:
            text = f"Ticks must pass the rule {name} (none may be {RULES[name].text})"
        when = stamp_text(int(ticks.ts_event_ns[at]))
        file = self._files[batch.file[at]] if batch.file[at] < len(self._files) else None
        msg = f"{text}, but got {values} at {when}. {RULES[name].remedy.format(name=name)}"
        return DataError(msg, file=file, row=int(batch.row[at]))

    def _check_sizes(self, batch: SourcedTicks) -> SourcedTicks:
        sizes = (batch.ticks.bid_size, batch.ticks.ask_size)
        bad = [~(np.isfinite(size) & (size >= 0)) for size in sizes]
        batch = self._apply("bad_size", bad[0] | bad[1], batch)
        step = float(self.instrument.size_increment)
        clean = [_clean_size(size, step) for size in (batch.ticks.bid_size, batch.ticks.ask_size)]
        ticks = batch.ticks
        return SourcedTicks(
            TickArrays(ticks.ts_event_ns, ticks.bid, ticks.ask, clean[0], clean[1]), batch.file, batch.row
        )

    def _round(self, batch: SourcedTicks) -> SourcedTicks:
        ticks = batch.ticks
        bid, ask = round_price(ticks.bid, self.instrument), round_price(ticks.ask, self.instrument)
        # Prices that only differ by float noise (a sum, a float32) are on the grid.
        tolerance = 1e-3 * self.instrument.tick_size
        off = (np.abs(bid - ticks.bid) > tolerance) | (np.abs(ask - ticks.ask) > tolerance)
        rounded = TickArrays(ticks.ts_event_ns, bid, ask, ticks.bid_size, ticks.ask_size)
        return self._apply("off_grid", off, SourcedTicks(rounded, batch.file, batch.row))

    def _check_backward(self, batch: SourcedTicks) -> SourcedTicks:
        if not len(batch):
            return batch
        ts = batch.ticks.ts_event_ns
        latest = np.maximum.accumulate(np.concatenate(([self._latest_ns], ts)))
        self._latest_ns = int(latest[-1])
        return self._apply("backward", ts < latest[:-1], batch)

    def _repeats(self, ticks: TickArrays) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Return which ticks have the stamp, and which the quote, of the tick before."""
        before = self._last_kept or (-(2**63), np.nan, np.nan)
        stamp = np.concatenate(([before[0]], ticks.ts_event_ns[:-1])) == ticks.ts_event_ns
        bid = np.concatenate(([before[1]], ticks.bid[:-1])) == ticks.bid
        ask = np.concatenate(([before[2]], ticks.ask[:-1])) == ticks.ask
        return stamp, bid & ask

    def _spikes(self, ticks: TickArrays) -> NDArray[np.bool_]:
        mid = (ticks.bid + ticks.ask) / 2
        if mid.size < SPIKE_WINDOW:
            return np.zeros(mid.size, dtype=bool)
        change = np.abs(np.diff(mid, prepend=mid[0]))
        moved = change[change > self.instrument.tick_size / 4]
        typical = float(np.median(moved)) if moved.size else 0.0
        nearby = median_filter(change, size=SPIKE_SCALE_WINDOW, mode="nearest")
        scale = np.maximum(1.4826 * np.maximum(nearby, typical), self.instrument.tick_size)
        around = median_filter(mid, size=SPIKE_WINDOW, mode="nearest")
        return np.asarray(np.abs(mid - around) > self.rules.spike_z * scale)

    def _check_gaps(self, batch: SourcedTicks) -> None:
        ts = batch.ticks.ts_event_ns
        before = ts[0] if self._last_kept is None else self._last_kept[0]
        start = np.concatenate(([before], ts[:-1]))
        long = np.flatnonzero(ts - start > self.rules.gap_s * 1e9)
        if not self.instrument.always_open:
            silent_ns = open_time_ns(start[long], ts[long])
            long = long[silent_ns > self.rules.gap_s * 1e9]
        tally = self._tallies["gap"]
        tally.found += int(long.size)
        tally.hours.update(_count_hours(start[long]))
        if long.size and self.rules.treatment("gap") == "fail":
            self._fail("gap", self._gap_error(batch, int(long[0]), int(start[long[0]])))

    def _gap_error(self, batch: SourcedTicks, at: int, start_ns: int) -> DataError:
        stop_ns = int(batch.ticks.ts_event_ns[at])
        file = self._files[batch.file[at]] if batch.file[at] < len(self._files) else None
        msg = (
            f"Ticks of the open market must be at most gap_s={self.rules.gap_s:g} s apart, but none came "
            f"from {stamp_text(start_ns)} to {stamp_text(stop_ns)}. {RULES['gap'].remedy}"
        )
        return DataError(msg, file=file, row=int(batch.row[at]))


def _either(batch: SourcedTicks, test: Any) -> NDArray[np.bool_]:
    return np.asarray(test(batch.ticks.bid) | test(batch.ticks.ask))


def _clean_size(size: NDArray[np.float64], step: float) -> NDArray[np.float64]:
    return np.asarray(np.rint(np.where(np.isfinite(size) & (size > 0), size, 0.0) / step) * step)


def _count_hours(ts_ns: NDArray[np.int64]) -> Mapping[int, int]:
    hours, counts = np.unique(ts_ns // HOUR_NS, return_counts=True)
    return dict(zip(hours.tolist(), counts.tolist(), strict=True))


def _number(name: str, text: str) -> float:
    try:
        return float(text)
    except ValueError as failure:
        raise ConfigError(f"`{name}` must be a number, but got {text!r}. E.g. {name}=30.") from failure


TREATMENTS: tuple[str, ...] = get_args(Treatment)
