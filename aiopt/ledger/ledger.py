"""The ledger itself: records trials and openings once, and counts the distinct ones that overlap a span.

Owns where it lies and what counts how often.  The file is `aiopt.ledger.chained_file`'s.
"""

from __future__ import annotations

import datetime as dt
import os
import threading
from collections import defaultdict
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import msgspec
import numpy as np

from aiopt.errors import DataError
from aiopt.ledger.chained_file import ChainedFile, Progress
from aiopt.ledger.records import Author, Keys, Line, Look, Opening, Span, Tried
from aiopt.ranking.earlier import Earlier, EarlierOpenings, EarlierTrials

FOLDER_VARIABLE = "AIOPT_LEDGER_DIR"
STATE_VARIABLE = "AIOPT_STATE_DIR"

_NO_KEYS: Keys = np.empty(0, dtype=np.uint64)


def ledger_folder() -> Path:
    """Return where the ledger lies: ``AIOPT_LEDGER_DIR``, else ``AIOPT_STATE_DIR/ledger``, else in the home.

    The last is ``~/.aiopt/ledger``: the same one from whatever folder a command is given, because a ledger
    that is empty in the next folder would count fewer trials.
    """
    given = os.environ.get(FOLDER_VARIABLE)
    if given:
        return Path(given).expanduser().absolute()
    state = os.environ.get(STATE_VARIABLE)
    return (Path(state) if state else Path("~/.aiopt")).expanduser().absolute() / "ledger"


def open_ledger() -> Ledger:
    """Return the ledger of `ledger_folder`; what was read of it is kept for the next call."""
    return _opened(ledger_folder())


class Ledger:
    """Every trial and every opened holdout in a folder.

    Parameters
    ----------
    folder : Path
        Need not be there yet.
    """

    def __init__(self, folder: Path) -> None:
        self._file = ChainedFile(folder)
        self._mutex = threading.RLock()
        self._clear()

    @property
    def path(self) -> Path:
        """The file."""
        return self._file.path

    def lines(self, progress: Progress | None = None) -> list[Line]:
        """Return all that is recorded, in order.

        Parameters
        ----------
        progress : callable, optional
            Called with bytes read and all bytes.

        Raises
        ------
        DataError
            If the file is damaged, cut off, gone or of a newer version.
        """
        with self._mutex:
            self._take(*self._file.read(progress))
            return [*self._lines]

    def prepare(self) -> None:
        """Make the folder, and read the file: what would keep a sweep from being recorded is found now."""
        with self._mutex, self._file.appending():
            self._take(*self._file.read_locked())

    def record(self, author: Author, span: Span, keys: Keys, *, failed: int = 0) -> int:
        """Record the trials of an author on a span, and return how many nobody had made before.

        What is recorded already is not recorded again: a run that is repeated, continued or made anew after
        it was deleted counts once.

        Parameters
        ----------
        author : Author
            Who tried.
        span : Span
            On what.
        keys : ndarray of uint64
            From `trial_keys`: all the author tried on it so far.
        failed : int
            How many of them have no result; they count.

        Raises
        ------
        DataError
            If the ledger cannot be read: then nothing is recorded.
        StorageError
            If it cannot be written.
        """
        with self._mutex, self._file.appending() as append:
            self._take(*self._file.read_locked())
            fresh = keys[~np.isin(keys, self._known(span), assume_unique=True)]
            mine = (one for one in self._tried if one.author.identity == author.identity and one.span == span)
            if not fresh.size and any(one.trials >= keys.size for one in mine):
                return 0
            line = Tried(
                at=_now(),
                author=author,
                span=span,
                trials=int(keys.size),
                failed=failed,
                keys=fresh.astype("<u8").tobytes(),
            )
            append([msgspec.json.encode(line)])
            self._keep(line)
        return int(fresh.size)

    def open_holdout(self, author: Author, span: Span) -> bool:
        """Record that an author saw a holdout; False if it is recorded already.

        Raises
        ------
        DataError, StorageError
            As `record`.
        """
        with self._mutex, self._file.appending() as append:
            self._take(*self._file.read_locked())
            if any(one.author.identity == author.identity and one.span == span for one in self._openings):
                return False
            line = Opening(at=_now(), author=author, span=span)
            append([msgspec.json.encode(line)])
            self._keep(line)
        return True

    def earlier(self, author: Author, looks: Sequence[Look], own: Keys | None = None) -> Earlier:
        """Return what others tried on the markets of a sweep, and who saw its holdouts.

        A trial counts if any of its data lies in the sweep's out-of-sample stretch of the same market; how
        much of it does not matter.

        Parameters
        ----------
        author : Author
            Of the sweep; what it opened itself is no earlier opening.
        looks : sequence of Look
            One for each market.
        own : ndarray of uint64, optional
            Keys of the sweep's own trials, of all markets.  Where they are not known yet: all that its author
            has recorded.

        Notes
        -----
        Keys of other spans differ, and of one span each is in one line alone (see `record`): so the distinct
        ones are counted by adding lines up.
        """
        self.lines()
        kinds: dict[str, set[str]] = {"run": set(), "sweep": set(), "backtest": set()}
        counted = 0
        for look in looks:
            for line in self._on_market(look.span):
                if not line.span.reaches(look.test_start_ns, look.test_stop_ns):
                    continue
                others = _others(line, author, look.span, own)
                counted += others
                if others:
                    kinds[line.author.kind].add(line.author.identity)
        trials: EarlierTrials | msgspec.UnsetType = msgspec.UNSET
        if counted:
            trials = EarlierTrials(
                trials=counted,
                runs=len(kinds["run"]),
                sweeps=len(kinds["sweep"]),
                backtests=len(kinds["backtest"]),
            )
        holdout = [self._openings_before(author, look.span, own) for look in looks]
        return Earlier(trials=trials, holdout=tuple(one for one in holdout if one.times or one.trials))

    def _openings_before(self, author: Author, span: Span, own: Keys | None) -> EarlierOpenings:
        start, stop = span.holdout_start_ns, span.stop_ns
        opened = [
            one
            for one in self._openings
            if one.author.identity != author.identity
            and one.span.same_market(span)
            and one.span.holdout_start_ns < stop
            and start < one.span.stop_ns
        ]
        seen = sum(
            _others(one, author, span, own)
            for one in self._on_market(span)
            if one.span.developed_on(start, stop) and start < stop
        )
        first = opened[0] if opened else None
        return EarlierOpenings(
            instrument=span.instrument,
            times=len({one.author.identity for one in opened}),
            first="" if first is None else first.author.name,
            first_at="" if first is None else first.at,
            trials=seen,
        )

    def _on_market(self, span: Span) -> list[Tried]:
        return [one for one in self._tried if one.span.same_market(span)]

    def _known(self, span: Span) -> Keys:
        """Return the keys of a span that are recorded, merged once."""
        parts = self._keys[span]
        if len(parts) > 1:
            parts[:] = [np.unique(np.concatenate(parts))]
        return parts[0] if parts else _NO_KEYS

    def _take(self, anew: bool, payloads: Sequence[bytes]) -> None:
        if anew:
            self._clear()
        for payload in payloads:
            try:
                self._keep(_DECODER.decode(payload))
            except msgspec.ValidationError as error:
                self._clear()
                self._file = ChainedFile(self._file.folder)
                msg = (
                    f"a line holds what this version of aiopt does not know: {error}. Use the version that "
                    "wrote it: no trial may be dropped."
                )
                raise DataError(msg, file=self.path) from error

    def _keep(self, line: Line) -> None:
        self._lines.append(line)
        if isinstance(line, Opening):
            self._openings.append(line)
            return
        self._tried.append(line)
        self._keys[line.span].append(line.found())

    def _clear(self) -> None:
        self._lines: list[Line] = []
        self._tried: list[Tried] = []
        self._openings: list[Opening] = []
        self._keys: dict[Span, list[Keys]] = defaultdict(list)


_DECODER = msgspec.json.Decoder(Line)


@cache
def _opened(folder: Path) -> Ledger:
    return Ledger(folder)


def _others(line: Tried, author: Author, span: Span, own: Keys | None) -> int:
    """Return how many trials of a line are not among a sweep's own, which are all on `span`."""
    if own is None:
        return 0 if line.author.identity == author.identity else line.found().size
    keys = line.found()
    if line.span != span or not own.size:
        return keys.size
    places = np.minimum(np.searchsorted(own, keys), own.size - 1)
    return int((own[places] != keys).sum())


def _now() -> str:
    return dt.datetime.now(tz=dt.UTC).isoformat(timespec="seconds")
