"""Applying the rules to ticks: what each finds is counted per rule and per hour, and treated.

Owns the order in which rules are applied, and the verdict on the clock.  The rules themselves are in
`tick_rules`, `row_checks` and `neighbour_checks`, the counts in `ledger`.
Knows nothing of files beyond the name and row it puts into a message.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from aiopt.errors import DataError
from aiopt.market.instrument import Instrument
from aiopt.ticks.checks.ledger import RuleLedger
from aiopt.ticks.checks.neighbour_checks import NeighbourChecks
from aiopt.ticks.checks.row_checks import RowChecks
from aiopt.ticks.checks.sourced import Finding, Gap, SourcedTicks, move
from aiopt.ticks.checks.tick_rules import DEFAULT_RULES, RULES, Rule, ValidationRules, parse_rules
from aiopt.ticks.clocks.clock_proof import ClockProof, clock_proof, doubtful_clock, shift_error, step_error
from aiopt.ticks.clocks.clock_shift import Shift, WeekWatch
from aiopt.ticks.clocks.conventions import FileClock
from aiopt.ticks.manifest import RuleCount
from aiopt.utc import HOUR_NS, hour_text


class Validator:
    """Apply the rules to ticks as they come, and count.

    Rows of the source go through `check_rows` in the order of the source, then `finish_rows` judges its
    clock; the days made of what is left go through `check_day` in order of time.

    Parameters
    ----------
    instrument : Instrument
        What the ticks should be of.
    rules : ValidationRules
        Treatments and thresholds.
    files : sequence of Path
        What `SourcedTicks.file` counts.
    clocks : sequence of FileClock
        What their stamps were read as; UTC if empty.
    strict : bool
        Raise at the first tick that breaks a rule of treatment ``fail``.  Otherwise such ticks are counted
        and dropped, `failures` has the first of each rule, `findings` the first of each rule and hour, and
        `gaps` every gap.
    """

    def __init__(
        self,
        instrument: Instrument,
        rules: ValidationRules = DEFAULT_RULES,
        *,
        files: Sequence[Path] = (),
        clocks: Sequence[FileClock] = (),
        strict: bool = True,
    ) -> None:
        self.instrument = instrument
        self.rules = rules
        self._ledger = RuleLedger(instrument, rules, files, strict=strict)
        self._rows = RowChecks(instrument, self._ledger)
        self._days = NeighbourChecks(instrument, self._ledger)
        self._files = files
        self._clocks = clocks
        self._weeks = WeekWatch()

    def check_rows(self, batch: SourcedTicks, *, newest_first: bool = False) -> SourcedTicks:
        """Apply the rules that look at one tick, and `backward`; return what is left, prices rounded.

        A batch in which nothing had to be changed comes back as the same object.

        Parameters
        ----------
        batch : SourcedTicks
            The next rows of one file.
        newest_first : bool
            The file runs from its newest row to its oldest, and these rows have been turned round.
        """
        if not len(batch):
            return batch
        batch = self._rows.check(batch, newest_first=newest_first)
        if not self.instrument.always_open:
            self._weeks.see(batch.ticks.ts_event_ns, batch.file, batch.row, follows=not newest_first)
        return batch

    def finish_rows(self) -> list[Shift]:
        """Judge the clock of the source, all of whose rows have been seen.

        Returns
        -------
        list of Shift
            The weeks whose ticks the caller moves with `move` before `check_day`: those found if the
            treatment of `clock_shift` is ``fix``, none otherwise.

        Raises
        ------
        DataError
            If a week is off and the treatment is ``fail``, or ``fix`` and it is not off by whole hours at
            both edges; names the row of its first tick and the clocks that fit.
        """
        found = self._weeks.shifts()
        if not found:
            self._check_doubts()
            return []
        tally = self._ledger.tally("clock_shift")
        tally.found += len(found)
        fix = self.rules.treatment("clock_shift") == "fix" and all(shift.hours for shift in found)
        for shift in found:
            hour = shift.edges.first_ns // HOUR_NS
            tally.hours[hour - shift.hours if fix else hour] += 1
        if not fix and self.rules.treatment("clock_shift") != "keep":
            remedy = RULES["clock_shift"].remedy
            self._ledger.fail(
                "clock_shift", shift_error(found, self._weeks.weeks(), self._clocks, self._files, remedy)
            )
        if not fix:
            return []
        tally.fixed += len(found)
        self._ledger.move_hours(found)
        return found

    def check_day(self, batch: SourcedTicks, copies: NDArray[np.bool_] | None = None) -> SourcedTicks:
        """Apply the rules that compare ticks with their neighbours; return what is left.

        Parameters
        ----------
        batch : SourcedTicks
            All ticks of one day in order of time, ticks of equal stamp in the order of the source.
        copies : ndarray of bool, optional
            Which of them another file has given already, see `aiopt.ticks.overlaps.lay_over`.
        """
        return self._days.check(batch, copies)

    def check_missing_hours(self, hours: Sequence[int], source: Path) -> None:
        """Count hours of the open market the source has no file for; hours since the epoch."""
        tally = self._ledger.tally("missing_hour")
        tally.found += len(hours)
        tally.hours.update(hours)
        if hours and self.rules.treatment("missing_hour") == "fail":
            more = "" if len(hours) == 1 else f" and {len(hours) - 1} more"
            which = f"{hour_text(hours[0])} (UTC){more}"
            msg = f"The source has no file of the hour {which}, when the market was open."
            self._ledger.fail("missing_hour", DataError(f"{msg} {RULES['missing_hour'].remedy}", file=source))

    def _check_doubts(self) -> None:
        """Refuse a clock that no week contradicts, and yet the source does not bear out."""
        if self.rules.treatment("clock_shift") == "keep":
            return
        steps = self._weeks.steps_back()
        doubt = doubtful_clock(self._weeks.weeks(), self._clocks, self._files)
        if steps:
            remedy = "Or accept it with --rule clock_shift=keep."
            self._ledger.fail("clock_shift", step_error(steps[0], self._files, remedy))
        elif doubt is not None:
            self._ledger.fail("clock_shift", doubt)

    def clock_proof(self) -> ClockProof:
        """Return what the weeks seen prove of the clock of the source; once `finish_rows` was called."""
        moved = self._ledger.tally("clock_shift").fixed
        return clock_proof(self._weeks.weeks(), self._clocks, self.instrument, moved=moved)

    @property
    def findings(self) -> dict[tuple[str, int], Finding]:
        """The first finding of each rule and hour; empty if strict."""
        return self._ledger.findings

    @property
    def gaps(self) -> list[Gap]:
        """Every gap; empty if strict."""
        return self._ledger.gaps

    def counts(self) -> list[RuleCount]:
        """Return what each rule found so far."""
        return self._ledger.counts()

    def failures(self) -> dict[str, DataError]:
        """Return the first failure of each rule of treatment ``fail`` that found something."""
        return self._ledger.failures()

    def dropped_in_hour(self, hour: int) -> int:
        """Return how many ticks of an hour (since the epoch) were dropped so far."""
        return self._ledger.dropped_in_hour(hour)


__all__ = [
    "DEFAULT_RULES",
    "RULES",
    "Finding",
    "Gap",
    "Rule",
    "SourcedTicks",
    "ValidationRules",
    "Validator",
    "move",
    "parse_rules",
]
