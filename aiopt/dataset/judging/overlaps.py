"""No reader is judged on what it was trained on: the check between two datasets.

Owns what counts as seen: the time that train and validation show or look ahead to, of any instrument, since
markets move together; and every chart of theirs, by its prices.  Reads facts and hashes only.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import polars as pl

from aiopt.dataset.info import read_info
from aiopt.dataset.tasks.task_info import Span, is_task_set, read_task_info
from aiopt.errors import DataError
from aiopt.timeframe import parse_timeframe
from aiopt.utc import time_text

SEEN_SPLITS = ("train", "validation")
"""Whoever stops training, or chooses among readers, by validation has seen it."""

HASH_DIGITS = 16
"""Of a chart's hash that are compared: two of a million are alike by chance once in 37 million sets."""


def seen_spans(folder: Path) -> dict[str, Span]:
    """Return the time that training on a dataset has seen, by split and series.

    Raises
    ------
    DataError
        If the folder is no finished dataset.
    """
    found = {}
    if is_task_set(folder):
        tasks = read_task_info(folder)
        for split in SEEN_SPLITS:
            facts_of = tasks.splits.get(split)
            for name, span in ({} if facts_of is None else facts_of.spans).items():
                found[f"{name} of {split}"] = span
        return found
    info = read_info(folder)
    # A dataset's facts name the first decision; its chart and its features began before.
    images = 200 if info.config.images is None else info.config.images.window
    before = max(images, info.config.features.regime_window) * parse_timeframe(info.timeframe).ns
    for split in SEEN_SPLITS:
        if split in info.splits and not info.synthetic:
            facts = info.splits[split]
            found[f"{info.instrument}-{info.timeframe} of {split}"] = Span(
                first_ns=facts.first_decision_ns - before, last_ns=facts.last_label_ns
            )
    return found


def refuse_overlap(trained: Sequence[Path], judged: Path, split: str) -> None:
    """Raise if a reader trained on some datasets would be judged on what it has seen.

    Parameters
    ----------
    trained : sequence of Path
        Datasets and sets of tasks it was trained on.
    judged : Path
        The set of tasks it is to be judged on.
    split : str
        The split of it.

    Raises
    ------
    DataError
        Names both spans, or the chart they share.
    """
    if not trained:
        _refuse_split(judged, split)
    for folder in trained:
        charts = chart_hashes(folder) if is_task_set(folder) else ()
        refuse_seen(seen_spans(folder), charts, str(folder), judged, split)


def refuse_seen(spans: Mapping[str, Span], charts: Iterable[str], who: str, judged: Path, split: str) -> None:
    """Raise if a split shows time or charts that were seen.

    Parameters
    ----------
    spans : mapping of str to Span
        Time that was seen, by series.
    charts : iterable of str
        Charts that were, as `chart_hashes` names them.
    who : str
        Who saw them, for the message.
    judged : Path
        The set of tasks to be judged on.
    split : str
        The split of it.

    Raises
    ------
    DataError
        Names both spans, or the chart they share.
    """
    _refuse_split(judged, split)
    for seen_name, seen in spans.items():
        for name, span in read_task_info(judged).splits[split].spans.items():
            if seen.first_ns < span.last_ns and span.first_ns < seen.last_ns:
                msg = (
                    f"No reader may be judged on time it was trained on, but {who} shows "
                    f"{_text(seen)} ({seen_name}), and {split} of this set {_text(span)} ({name}). Train "
                    "on bars that end before, or judge on later ones."
                )
                raise DataError(msg, file=judged)
    shared = chart_hashes(judged, (split,)) & set(charts)
    if shared:
        msg = (
            f"No reader may be judged on charts it was trained on, but {len(shared)} charts of "
            f"{split} are in {who} too, e.g. that with the prices' hash {min(shared)[:12]}. Build "
            "the set with another seed or other sources."
        )
        raise DataError(msg, file=judged)


def chart_hashes(folder: Path, splits: Sequence[str] = SEEN_SPLITS) -> set[str]:
    """Return the beginnings, `HASH_DIGITS` hex digits, of the hashes of a set's charts."""
    found: set[str] = set()
    for file in read_task_info(folder).files:
        if file.split in splits:
            path = Path(folder) / file.path
            if "chart_sha256" in pl.read_parquet_schema(path):
                hashes = pl.read_parquet(path, columns=["chart_sha256"])["chart_sha256"]
                found |= set(hashes.str.slice(0, HASH_DIGITS).to_list())
    return found


def _refuse_split(judged: Path, split: str) -> None:
    if split in SEEN_SPLITS:
        msg = f"A reader must not be judged on {split!r}: it was trained or chosen by it. Judge it on test."
        raise DataError(msg, file=judged)


def refuse_records_of_judged(spans: Iterable[Span], judged: Sequence[Path]) -> None:
    """Raise if records to train on show time that a later judgement uses.

    Parameters
    ----------
    spans : iterable of Span
        What each record shows or looks ahead to.
    judged : sequence of Path
        Sets of tasks that readers will be judged on: all their splits but train and validation count, of any
        market.

    Raises
    ------
    DataError
        Names the set, the split and how many records.
    """
    known = list(spans)
    for folder in judged:
        info = read_task_info(folder)
        for split in (name for name in info.splits if name not in SEEN_SPLITS):
            for name, span in info.splits[split].spans.items():
                inside = [one for one in known if one.first_ns < span.last_ns and span.first_ns < one.last_ns]
                if inside:
                    msg = (
                        f"No record may show time that a reader is judged on, but {len(inside)} of "
                        f"{len(known)} do, the first {_text(inside[0])}; {split} of this set is "
                        f"{_text(span)} ({name}). Leave them out (--until), or judge on later time."
                    )
                    raise DataError(msg, file=folder)


def _text(span: Span) -> str:
    return f"{time_text(span.first_ns, 'm')} to {time_text(span.last_ns, 'm')}"
