"""What is known of the clock of a source once its weeks have been seen: proved, not proved, or refuted.

Owns the record for manifests and reports, and what a refusal says.  Knows no format.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from aiopt.errors import DataError
from aiopt.market.instrument import Instrument
from aiopt.ticks.clocks.clock_shift import Shift, StepBack, Week
from aiopt.ticks.clocks.conventions import ASSUMED, FORMAT, GIVEN, WEEKS, YEAR, FileClock, fitting_clocks
from aiopt.ticks.clocks.local_time import UTC
from aiopt.utc import MINUTE_NS, stamp_text

_ORIGINS = {
    GIVEN: "as given",
    FORMAT: "the format's own",
    ASSUMED: "assumed, the files do not say",
    YEAR: "known of the provider's files of that year",
    WEEKS: "chosen by the weeks of each file",
}
_DEFAULT = FileClock(UTC)


class ClockProof(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The clock the stamps of a source were read as, and what proves it.

    Attributes
    ----------
    clock : str
        Its name; several, comma-separated, if files differ.
    origin : str
        Why it was taken: ``"given"``, ``"format"``, ``"assumed"``, ``"year"``, ``"weeks"``; several likewise.
    weeks : int
        FX weeks in which there is something.
    fitting : int
        Those that begin or end at 17:00 New York, and do not contradict.
    contradicting : int
        Those in which the market is there before the opening or after the closing.  Not 0 only where the
        treatment of ``clock_shift`` lets them pass.
    check : str
        What a second witness said; empty without one.
    text : str
        All that as a sentence.
    """

    clock: str
    origin: str
    weeks: int
    fitting: int
    contradicting: int
    check: str = ""
    text: str = ""

    @property
    def is_proved(self) -> bool:
        """True if weeks or a second witness speak for the clock and no week against it."""
        return bool(self.fitting or self.check) and not self.contradicting

    def checked(self, check: str) -> ClockProof:
        """Return the proof with what a second witness said."""
        return msgspec.structs.replace(self, check=check, text=f"{self.text} Second witness: {check}")


def clock_proof(
    weeks: Sequence[Week], clocks: Sequence[FileClock], instrument: Instrument, *, moved: int = 0
) -> ClockProof:
    """Return what the weeks of a source prove of its clock.

    Parameters
    ----------
    weeks : sequence of Week
        As `WeekWatch` saw them.
    clocks : sequence of FileClock
        Of the files of the source; UTC if empty.
    instrument : Instrument
        One that is always open has no weeks.
    moved : int
        Contradicting weeks that were moved into place.
    """
    used = list(clocks) or [_DEFAULT]
    off = [week for week in weeks if week.contradicts()]
    fitting = [week for week in weeks if week.fits() and not week.contradicts()]
    names = ", ".join(dict.fromkeys(one.clock.name for one in used))
    origins = list(dict.fromkeys(one.origin for one in used))
    words = " / ".join(_ORIGINS[origin] for origin in origins)
    if instrument.always_open:
        found = f"not proved, {instrument.symbol} trades through the week-end and so has no weeks to tell by"
    elif off:
        treated = f"{moved} were moved into place" if moved else "kept on request"
        found = f"contradicted by {len(off)} of {len(weeks)} weeks, {treated}"
    elif fitting:
        found = f"proved by {len(fitting)} of {len(weeks)} weeks that open or close at 17:00 New York"
        inside = [week for week in weeks if week.hours_short()]
        if inside:
            first = stamp_text(inside[0].open_ns)[:10]
            found += f"; {len(inside)} begin late or end early by whole hours (first: that of {first}), as a "
            found += "holiday, a hole or another clock makes them"
    else:
        found = "not proved, no week opens or closes in the source"
        short = _short(weeks)
        if short and ASSUMED in origins:
            found += (
                f" (what there is begins or ends {short:+d} h from 17:00 New York: cut off, or another clock)"
            )
    strays = [week for week in weeks if week.has_strays]
    if strays:
        first = stamp_text(strays[0].open_ns)[:10]
        found += f"; {len(strays)} have something in the week-end beside them (first: that of {first})"
    return ClockProof(
        clock=names,
        origin=", ".join(origins),
        weeks=len(weeks),
        fitting=len(fitting),
        contradicting=len(off),
        text=f"{names} ({words}): {found}.",
    )


def doubtful_clock(
    weeks: Sequence[Week], clocks: Sequence[FileClock], files: Sequence[Path]
) -> DataError | None:
    """Return the error for a clock that was assumed and that no edge fits, while all fit one other clock.

    A file that ends five hours before the week does may be cut off there, or be on a clock five hours behind:
    only where a provider's files of one form come on either clock is that enough to ask.
    """
    used = list(clocks) or [_DEFAULT]
    if not all(one.disputed for one in used) or any(week.fits() for week in weeks):
        return None
    short = _short(weeks)
    if not short:
        return None
    week = next(week for week in weeks if week.hours_short())
    file = week.edges.file
    where = (
        f"begins {short} h after the opening ({stamp_text(week.begin_ns)[:19]})"
        if short > 0
        else f"ends {-short} h before the closing ({stamp_text(week.end_ns)[:19]})"
    )
    msg = (
        f"Read as the clock {_clock_name(used, file)}, which is only assumed, the source {where}. Weeks open "
        "on Sunday and close on Friday at 17:00 New York, so it is cut off there, or on another clock."
        f"{_fit_text(weeks, used)} Say which with --timezone."
    )
    return DataError(msg, file=files[file] if file < len(files) else None)


def shift_error(
    found: Sequence[Shift],
    weeks: Sequence[Week],
    clocks: Sequence[FileClock],
    files: Sequence[Path],
    remedy: str,
) -> DataError:
    """Return the error for weeks on another clock; names the first, its place, and the clocks that fit."""
    used = list(clocks) or [_DEFAULT]
    first = found[0]
    file = first.edges.file
    hours = ", ".join(f"{hours:+d} h" for hours in sorted({shift.hours for shift in found if shift.hours}))
    off = f", {first.hours:+d} h" if first.hours else ", which no shift of the whole week mends"
    more = "" if len(found) == 1 else f", as do {len(found) - 1} more weeks ({hours})"
    msg = (
        f"Read as the clock {_clock_name(used, file)}, a week begins at {stamp_text(first.edges.first_ns)} "
        f"and ends at {stamp_text(first.edges.last_ns)}{off}{more}. Weeks open on Sunday and close on Friday "
        f"at 17:00 New York, so the source is on another clock.{_fit_text(weeks, used)} {remedy}"
    )
    return DataError(msg, file=files[file] if file < len(files) else None, row=first.edges.row)


def step_error(step: StepBack, files: Sequence[Path], remedy: str) -> DataError:
    """Return the error for a file that goes back by about whole hours and on from there."""
    minutes = round((step.before_ns - step.after_ns) / MINUTE_NS)
    msg = (
        f"Time runs back: after {stamp_text(step.before_ns)[:19]} the file goes on from "
        f"{stamp_text(step.after_ns)[:19]}, {minutes} min earlier. Its clock was set back there, or parts "
        "of it are out of order. Split it there and import each part with its own --timezone, or sort it. "
        f"{remedy}"
    )
    return DataError(msg, file=files[step.file] if step.file < len(files) else None, row=step.row)


def _fit_text(weeks: Sequence[Week], used: Sequence[FileClock]) -> str:
    names = fitting_clocks([(week, used[min(week.edges.file, len(used) - 1)].clock) for week in weeks])
    if not names:
        return " No one clock fits all weeks: it changes within the source."
    listed = ", ".join(f"--timezone {name}" for name in names)
    same = " (alike in these weeks)" if len(names) > 1 else ""
    return f" What fits its weeks: {listed}{same}."


def _clock_name(used: Sequence[FileClock], file: int) -> str:
    return used[min(file, len(used) - 1)].clock.name


def _short(weeks: Sequence[Week]) -> int:
    hours = {week.hours_short() for week in weeks} - {0}
    return hours.pop() if len(hours) == 1 else 0
