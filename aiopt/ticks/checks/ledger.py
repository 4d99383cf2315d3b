"""What each rule found, and what became of it.

Owns the counts per rule and hour, the places of findings, and the meaning of the treatments.  Knows no rule.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from aiopt.errors import DataError
from aiopt.market.instrument import Instrument
from aiopt.ticks.checks import rule_errors
from aiopt.ticks.checks.sourced import Finding, Gap, SourcedTicks
from aiopt.ticks.checks.tick_rules import RULES, ValidationRules
from aiopt.ticks.clocks.clock_shift import Shift
from aiopt.ticks.manifest import RuleCount
from aiopt.utc import HOUR_NS, hour_text


@dataclass
class Tally:
    """Counts of one rule."""

    found: int = 0
    dropped: int = 0
    fixed: int = 0
    hours: Counter[int] = field(default_factory=Counter)
    first: DataError | None = None


class RuleLedger:
    """Counts findings per rule and hour, and drops, keeps or refuses the ticks at fault.

    Parameters
    ----------
    instrument : Instrument
        What the ticks should be of.
    rules : ValidationRules
        Treatments and thresholds.
    files : sequence of Path
        What `SourcedTicks.file` counts.
    strict : bool
        Raise at the first finding of a rule of treatment ``fail``.  Otherwise such ticks are counted and
        dropped, `failures` has the first of each rule, `findings` the first of each rule and hour, and `gaps`
        every gap.
    """

    def __init__(
        self, instrument: Instrument, rules: ValidationRules, files: Sequence[Path], *, strict: bool
    ) -> None:
        self.rules = rules
        self.strict = strict
        self.files = files
        self.findings: dict[tuple[str, int], Finding] = {}
        self.gaps: list[Gap] = []
        self._instrument = instrument
        self._tallies = {name: Tally() for name in RULES}
        self._dropped_hours: Counter[int] = Counter()

    def tally(self, name: str) -> Tally:
        """Return the counts of a rule, to be added to."""
        return self._tallies[name]

    def drops(self, name: str) -> bool:
        """Return whether ticks that break a rule are dropped."""
        return self.rules.treatment(name) in {"drop", "fail"}

    def apply(self, name: str, broken: NDArray[np.bool_], batch: SourcedTicks) -> SourcedTicks:
        """Count the ticks that break a rule; drop them, note them as fixed by the caller, or keep them."""
        found = int(np.count_nonzero(broken))
        if not found:
            return batch
        tally = self._tallies[name]
        tally.found += found
        ts = batch.ticks.ts_event_ns[broken]
        tally.hours.update(count_hours(ts))
        if not self.strict:
            self._note_findings(name, np.flatnonzero(broken), batch)
        treatment = self.rules.treatment(name)
        if treatment == "fail":
            self.fail(
                name,
                rule_errors.tick_error(name, self._instrument, batch, int(np.argmax(broken)), self.files),
            )
        if treatment == "fix":
            tally.fixed += found
        return self.remove(name, broken, batch) if self.drops(name) else batch

    def remove(self, name: str, broken: NDArray[np.bool_], batch: SourcedTicks) -> SourcedTicks:
        """Drop ticks that were counted as found before."""
        found = int(np.count_nonzero(broken))
        if not found:
            return batch
        self._tallies[name].dropped += found
        self._dropped_hours.update(count_hours(batch.ticks.ts_event_ns[broken]))
        return batch.take(~broken)

    def _note_findings(self, name: str, at: NDArray[np.int64], batch: SourcedTicks) -> None:
        ticks = batch.ticks
        hours, firsts = np.unique(ticks.ts_event_ns[at] // HOUR_NS, return_index=True)
        for hour, first in zip(hours.tolist(), at[firsts].tolist(), strict=True):
            finding = Finding(
                rule=name,
                hour=hour,
                file=int(batch.file[first]),
                row=int(batch.row[first]),
                ts_ns=int(ticks.ts_event_ns[first]),
                bid=float(ticks.bid[first]),
                ask=float(ticks.ask[first]),
            )
            self.findings.setdefault((name, hour), finding)

    def fail(self, name: str, error: DataError) -> None:
        """Raise an error, or note it as the first of its rule where the pass is not strict."""
        if self.strict:
            raise error
        if self._tallies[name].first is None:
            self._tallies[name].first = error

    def move_hours(self, shifts: Sequence[Shift]) -> None:
        """Move what was counted per hour along with the ticks of shifted weeks; shifts are whole hours."""
        for name, tally in self._tallies.items():
            if name not in {"clock_shift", "missing_hour"}:
                tally.hours = _moved(tally.hours, shifts)
        self._dropped_hours = _moved(self._dropped_hours, shifts)
        moved = (replace(one, hour=one.hour - _shift_of(one.hour, shifts)) for one in self.findings.values())
        self.findings = {(one.rule, one.hour): one for one in moved}

    def counts(self) -> list[RuleCount]:
        """Return what each rule found so far."""
        return [
            RuleCount(
                rule=name,
                treatment=self.rules.treatment(name),
                found=tally.found,
                dropped=tally.dropped,
                fixed=tally.fixed,
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


def count_hours(ts_ns: NDArray[np.int64]) -> Mapping[int, int]:
    """Return how many stamps lie in each hour since the epoch."""
    hours, counts = np.unique(ts_ns // HOUR_NS, return_counts=True)
    return dict(zip(hours.tolist(), counts.tolist(), strict=True))


def _moved(hours: Counter[int], shifts: Sequence[Shift]) -> Counter[int]:
    result: Counter[int] = Counter()
    for hour, count in hours.items():
        result[hour - _shift_of(hour, shifts)] += count
    return result


def _shift_of(hour: int, shifts: Sequence[Shift]) -> int:
    return next((one.hours for one in shifts if one.start_ns <= hour * HOUR_NS < one.stop_ns), 0)
