"""What the ledger keeps: who tried how many trials on which span, and who opened which holdout.

Owns the records, the key of a trial and the rules of overlap.  Reads and writes nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Literal, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from aiopt.utc import time_text

Keys = NDArray[np.uint64]
"""Keys of trials, sorted, each once."""

Kind = Literal["run", "sweep", "backtest"]

_KEY_BYTES = 8
"""Of a key.  Among ten million trials two are taken for one with a probability of 3 in a million."""


class Span(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Data that trials were made on.

    Attributes
    ----------
    instrument : str
        Symbol of the market.
    data_hash : str
        Of the ticks or bars.
    synthetic : bool
        Generated: then it is a market of its own, which no other data overlaps.
    start_ns, stop_ns : int
        Half-open, UTC.
    holdout_start_ns : int
        Where the development span ends; `stop_ns` if there is no holdout.
    """

    instrument: str
    data_hash: str
    synthetic: bool
    start_ns: int
    holdout_start_ns: int
    stop_ns: int

    def same_market(self, other: Span) -> bool:
        """Tell whether trials on both saw the same prices where their times overlap."""
        if self.instrument != other.instrument or self.synthetic != other.synthetic:
            return False
        return not self.synthetic or self.data_hash == other.data_hash

    def reaches(self, start_ns: int, stop_ns: int) -> bool:
        """Tell whether any of it, the holdout included, lies in a half-open stretch."""
        return self.start_ns < stop_ns and start_ns < self.stop_ns

    def developed_on(self, start_ns: int, stop_ns: int) -> bool:
        """Tell whether any of its development span lies in a half-open stretch."""
        return self.start_ns < stop_ns and start_ns < self.holdout_start_ns

    @property
    def text(self) -> str:
        """First and last day, for people."""
        return f"{time_text(self.start_ns)[:10]} to {time_text(self.stop_ns - 1)[:10]}"


class Look(msgspec.Struct, frozen=True, kw_only=True):
    """What a sweep asks the ledger about one of its markets.

    Attributes
    ----------
    span : Span
        Its data.
    test_start_ns, test_stop_ns : int
        The out-of-sample stretch, by which it is judged.
    """

    span: Span
    test_start_ns: int
    test_stop_ns: int


class Author(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who tried.

    Attributes
    ----------
    kind : str
        ``run``, ``sweep`` or ``backtest``.
    identity : str
        Hash of what decides the result: the same call again has the same, and counts once.
    name : str
        For people.
    """

    kind: Kind
    identity: str
    name: str


class Tried(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="trials"):
    """One line of the ledger: trials of one author on one span.

    Attributes
    ----------
    at : str
        When it was recorded, ISO 8601 UTC.
    author : Author
        Who.
    span : Span
        On what.
    trials, failed : int
        All the author had tried on it by then, and those of them without a result.
    keys : bytes
        Of the trials that no line before has, 8 bytes each, ascending.
    """

    at: str
    author: Author
    span: Span
    trials: int
    failed: int
    keys: bytes

    def found(self) -> Keys:
        """Return the keys."""
        return np.frombuffer(self.keys, dtype="<u8")


class Opening(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="holdout"):
    """One line of the ledger: an author saw the results of a holdout; fields as in `Tried`."""

    at: str
    author: Author
    span: Span


Line = Tried | Opening


class TrialTerms(NamedTuple):
    """What tells one trial on a span from another.

    Attributes
    ----------
    spec_hash : str
        Of the strategy with its parameters.
    timeframe : str
        Bar length.
    config_hash : str
        Of the backtest's assumptions.
    """

    spec_hash: str
    timeframe: str
    config_hash: str


def trial_key(span: Span, terms: TrialTerms) -> int:
    """Return the key of a trial: equal for the same strategy, assumptions and span, whoever tries it."""
    on = (span.instrument, span.data_hash, span.start_ns, span.holdout_start_ns, span.stop_ns)
    text = "\x1f".join(map(str, (*terms, *on)))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=_KEY_BYTES).digest(), "little")


def trial_keys(span: Span, terms: Iterable[TrialTerms]) -> Keys:
    """Return the keys of trials, sorted, each once."""
    return np.unique(np.fromiter((trial_key(span, one) for one in terms), dtype=np.uint64))
