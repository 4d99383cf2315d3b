"""Which clock a file is on: what is known of its provider and year, and what its own weeks say.

Owns the table of conventions, the choice between them, and the clocks that would fit stamps as they are.
A name proves nothing: where a provider has used several clocks, the weeks of each file decide, then what is
known of its year; else the user is asked.  Knows no format and no treatment.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from aiopt.errors import DataError
from aiopt.ticks.clocks.clock_shift import MOST_HOURS, Week, WeekWatch
from aiopt.ticks.clocks.local_time import BROKER, NEW_YORK, Clock, WallClock, parse_clock
from aiopt.utc import HOUR_NS

GIVEN, FORMAT, ASSUMED, YEAR, WEEKS = "given", "format", "assumed", "year", "weeks"
"""Why a file was read as a clock: the user said so; the format says so; usual, but the file does not say;
known of the provider's year; chosen by the file's own weeks."""

LONDON_LESS_5 = "Europe/London-5"
_HALF_HOUR_NS = HOUR_NS // 2


@dataclass(frozen=True)
class FileClock:
    """The clock a file is read as, and why.

    Attributes
    ----------
    clock : Clock
        What it is.
    origin : str
        `GIVEN`, `FORMAT`, `ASSUMED`, `YEAR` or `WEEKS`.
    disputed : bool
        True if files of the very same form come on another clock.
    """

    clock: Clock
    origin: str = FORMAT
    disputed: bool = False


@dataclass(frozen=True)
class Convention:
    """The clocks a provider's files may be on.

    Attributes
    ----------
    clocks : tuple of Clock
        Best known first; more than one where the files do not agree.
    origin : str
        Of the clock, if there is one alone.
    years : dict of int to Clock
        Years for which files were checked.
    disputed : bool
        See `FileClock`.
    """

    clocks: tuple[Clock, ...]
    origin: str
    years: dict[int, Clock]
    disputed: bool = False

    def best(self) -> FileClock:
        """Return the best known clock."""
        return FileClock(self.clocks[0], self.origin, self.disputed)


def _convention(
    *names: str, origin: str, years: dict[int, str] | None = None, disputed: bool = False
) -> Convention:
    known = {year: parse_clock(name) for year, name in (years or {}).items()}
    return Convention(tuple(parse_clock(name) for name in names), origin, known, disputed)


_UTC = _convention("UTC", origin=FORMAT)
_CONVENTIONS: dict[str, Convention] = {
    # Documented as EST without daylight saving.  The EUR/USD minutes of 2018 follow New York's wall clock (53
    # weeks say so), those of 2019 London's less five hours.  Of other years nothing is known here.
    "histdata": _convention(
        NEW_YORK, LONDON_LESS_5, "-05:00", origin=WEEKS, years={2018: NEW_YORK, 2019: LONDON_LESS_5}
    ),
    "metatrader": _convention(BROKER, origin=ASSUMED),
    # The same files: only the folder's name tells the two providers apart, and it proves nothing.
    "oanda": _convention("UTC", origin=ASSUMED, disputed=True),
    "fxcm": _convention("-05:00", origin=ASSUMED, disputed=True),
}


def convention(format: str, file: Path) -> Convention:
    """Return the clocks that files of a format may be on; UTC for formats that are UTC by definition."""
    by_histdata = file.name.upper().startswith(("DAT_MT_", "HISTDATA_COM_MT_"))
    return _CONVENTIONS.get("histdata" if by_histdata else format, _UTC)


def choose(
    file: Path, options: Convention, stamps: Iterable[NDArray[np.int64]], *, bar_ns: int = 0
) -> FileClock:
    """Return the clock of a file among those its provider uses.

    A clock that a week contradicts is out.  If those left turn the stamps into different instants, the one
    with the most edges at 17:00 New York is taken, else the one known of the year.  If all are out, the best
    known is returned: `aiopt.ticks.clocks.clock_proof` refuses it, naming clocks that fit.

    Parameters
    ----------
    file : Path
        For messages.
    options : Convention
        What to choose from.
    stamps : iterable of ndarray of int64
        All stamps of the file as it has them, in order; not consumed if there is nothing to choose.
    bar_ns : int
        Length of the bars; 0 for ticks.

    Raises
    ------
    DataError
        If neither the weeks nor what is known tells.
    """
    if len(options.clocks) == 1:
        return options.best()
    years: Counter[int] = Counter()
    trials = [_Trial(clock, file, bar_ns) for clock in options.clocks]
    apart: set[frozenset[int]] = set()
    for block in stamps:
        found, counts = np.unique(block.astype("datetime64[ns]").astype("datetime64[Y]"), return_counts=True)
        for year, count in zip(found.astype(np.int64).tolist(), counts.tolist(), strict=True):
            years[year + 1970] += count
        turned = [trial.see(block) for trial in trials]
        for one, utc in enumerate(turned):
            for other, also in enumerate(turned[:one]):
                if utc is not None and also is not None and not np.array_equal(utc, also):
                    apart.add(frozenset((one, other)))
    known = options.years.get(years.most_common(1)[0][0]) if years else None
    alive = [number for number, trial in enumerate(trials) if trial.is_possible()]
    alive.sort(key=lambda number: (-trials[number].fits(), trials[number].clock != known, number))
    if not alive:
        return FileClock(known or options.clocks[0], ASSUMED)
    best = alive[0]
    fits = trials[best].fits()
    rivals = [other for other in alive[1:] if frozenset((best, other)) in apart]
    if not rivals:
        # All that is left agrees on every stamp: proved if a week is seen, else at least undisputed.
        undisputed = YEAR if trials[best].clock == known else ASSUMED
        return FileClock(trials[best].clock, WEEKS if fits else undisputed)
    if fits > max(trials[other].fits() for other in rivals):
        return FileClock(trials[best].clock, WEEKS)
    if known is not None and any(trials[number].clock == known for number in alive):
        return FileClock(known, YEAR)
    names = " or ".join(trials[number].clock.name for number in (best, *rivals))
    msg = (
        "The clock of a file must follow from its weeks or its year, but this one can be "
        f"{names}: it holds no opening or closing of a week that tells, and nothing is known of its year. "
        "Give it with --timezone."
    )
    raise DataError(msg, file=file)


class _Trial:
    """A clock that a file may be on, and what the file says to it."""

    def __init__(self, clock: Clock, file: Path, bar_ns: int) -> None:
        self.clock = clock
        self._wall: WallClock | None = WallClock(clock, file, bars=bar_ns > 0)
        self._watch = WeekWatch(bar_ns)

    def see(self, local_ns: NDArray[np.int64]) -> NDArray[np.int64] | None:
        """Return the stamps on this clock, None once one of them never was."""
        if self._wall is None:
            return None
        try:
            utc = self._wall.to_utc(local_ns)
        except DataError:
            # An hour that this clock skipped: the file is on another.
            self._wall = None
            return None
        self._watch.see(utc)
        return utc

    def is_possible(self) -> bool:
        return self._wall is not None and not self._watch.shifts()

    def fits(self) -> int:
        return sum(week.fits() for week in self._watch.weeks())


def fitting_clocks(weeks: Sequence[tuple[Week, Clock]]) -> list[str]:
    """Return the names of the clocks on which stamps, as the source has them, would make FX weeks.

    Tried are fixed offsets, and the wall clocks of New York and London plus whole hours: the two summer times
    in which markets keep their books.  A clock fits if no week contradicts it, and as many edges lie at 17:00
    New York as on any other.

    Parameters
    ----------
    weeks : sequence of tuple of Week and Clock
        Each with the clock it was read as.
    """
    seen = [(week, clock) for week, clock in weeks if not week.runs_through]
    found: list[tuple[int, str]] = []
    for zone in (None, NEW_YORK, "Europe/London"):
        base = Clock("", zone, 0)
        turned = [
            replace(
                week,
                begin_ns=week.begin_ns + _apart(clock, base, week.begin_ns, week.open_ns),
                end_ns=week.end_ns + _apart(clock, base, week.end_ns, week.close_ns),
            )
            for week, clock in seen
        ]
        for ahead in _half_hours_off(turned):
            late = ahead * _HALF_HOUR_NS
            if zone is not None and ahead % 2:
                continue
            fits = sum(week.fits(late) for week in turned)
            if fits and not any(week.contradicts(late) for week in turned):
                found.append((fits, _name(zone, ahead)))
    most = max((fits for fits, _ in found), default=0)
    return [name for fits, name in found if fits == most]


def _apart(clock: Clock, base: Clock, edge_ns: int, week_ns: int) -> int:
    return clock.ahead_of_utc_ns(edge_ns) - base.ahead_of_utc_ns(week_ns)


def _half_hours_off(weeks: Sequence[Week]) -> list[int]:
    steps = {
        round(off / _HALF_HOUR_NS)
        for week in weeks
        for off in (week.begin_ns - week.open_ns, week.end_ns - week.close_ns)
        if abs(off) <= MOST_HOURS * HOUR_NS
    }
    return sorted(steps)


def _name(zone: str | None, half_hours: int) -> str:
    hours, rest = divmod(abs(half_hours), 2)
    sign = "-" if half_hours < 0 else "+"
    if zone is None:
        return "UTC" if half_hours == 0 else f"{sign}{hours:02d}:{30 * rest:02d}"
    if zone == NEW_YORK:
        return NEW_YORK if half_hours == 0 else f"NY{sign}{hours}"
    known = {0: zone, 2: "Europe/Berlin", 4: "Europe/Athens"}
    return known.get(half_hours, f"{zone}{sign}{hours}")
