"""What a checkpoint has seen, told by a file that lies in it and goes where it goes.

Owns that file.  Datasets may be moved or deleted after a training; what was learnt from them stays in the
weights, so their time and their charts are written beside these, those of the base included.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from aiopt.config import decode
from aiopt.dataset.judging.overlaps import HASH_DIGITS, chart_hashes, refuse_seen, seen_spans
from aiopt.dataset.tasks.task_info import Span, is_task_set
from aiopt.errors import DataError

SEEN_FILE = "aiopt_trained_on.json"


class Seen(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Time and charts that a checkpoint was trained on or chosen by.

    Attributes
    ----------
    datasets : tuple of str
        Names, oldest training first.
    spans : dict of str to Span
        Time by dataset, series and split.
    charts : tuple of str
        Beginnings of the hashes of charts' prices, `HASH_DIGITS` hex digits, sorted.
    complete : bool
        False where it was also trained on what nobody told: an adapter made elsewhere was merged.
    """

    datasets: tuple[str, ...] = ()
    spans: dict[str, Span] = {}
    charts: tuple[str, ...] = ()
    complete: bool = True


def seen_by(folders: Sequence[Path], before: Seen | None = None) -> Seen:
    """Return what training on some datasets sees, and what the base had seen before.

    Raises
    ------
    DataError
        If a folder is no finished dataset.
    """
    seen = Seen() if before is None else before
    spans, charts = dict(seen.spans), set(seen.charts)
    names = list(seen.datasets)
    for folder in map(Path, folders):
        name = folder.resolve().name
        names += [] if name in names else [name]
        for series, span in seen_spans(folder).items():
            key = f"{name}: {series}"
            known = spans.get(key, span)
            spans[key] = Span(
                first_ns=min(known.first_ns, span.first_ns), last_ns=max(known.last_ns, span.last_ns)
            )
        if is_task_set(folder):
            charts |= chart_hashes(folder)
    return Seen(datasets=tuple(names), spans=spans, charts=tuple(sorted(charts)), complete=seen.complete)


def seen_text(seen: Seen) -> str:
    """Return the text of the file."""
    return msgspec.json.encode(seen, order="deterministic").decode() + "\n"


def read_seen(checkpoint: Path) -> Seen | None:
    """Read what a checkpoint has seen; None where it does not say.

    Raises
    ------
    DataError
        If the file is damaged: a checkpoint that hides what it saw cannot be judged.
    """
    path = Path(checkpoint) / SEEN_FILE
    if not path.is_file():
        return None
    try:
        return decode(msgspec.json.decode(path.read_bytes()), Seen, where=str(path), error=DataError)
    except msgspec.DecodeError as failure:
        msg = f"What a checkpoint has seen must be readable, but: {failure}. Bring the file back."
        raise DataError(msg, file=path) from failure


def refuse_what_was_seen(seen: Seen, who: str, judged: Path, split: str) -> None:
    """Raise if a checkpoint would be judged on what it has seen; `HASH_DIGITS` digits tell charts apart.

    Raises
    ------
    DataError
        As `aiopt.dataset.judging.overlaps.refuse_seen`.
    """
    assert all(len(one) == HASH_DIGITS for one in seen.charts[:1])
    refuse_seen(seen.spans, seen.charts, who, judged, split)
