"""What a reader is asked to be judged: every question of a split, and the controls of some.

Owns the controls and what is true of them:

- ``mirrored``: the chart upside down; the truth is its own: definitions are taken of the mirrored bars,
  planted truth is mirrored.  Who learnt "the market rises" fails here;
- ``shuffled``: the same bars in random order; the truth stays that of the upright chart.  Who is still right
  more often than a guess reads something other than the shape: the leak is in the data;
- ``blank``: bars that do nothing, the truth that of the upright chart.  It shows what is answered unseen;
- ``noisy``: every bar moved and its wicks grown by the mean range; planted truth stays, definitions are taken
  of the noisy bars.

Reads sets of tasks; asks nobody.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np
import polars as pl

from aiopt.analyst.generators import noisy_bars
from aiopt.analyst.planted import blank_bars, mirrored_bars, shuffled_bars
from aiopt.bars.schema import BarArrays
from aiopt.dataset.tasks.task_info import BARS_FOLDER, TaskSetInfo
from aiopt.dataset.tasks.task_kinds import TASKS, Chart
from aiopt.dataset.tasks.task_mirrors import mirrored_truth
from aiopt.errors import ConfigError, DataError
from aiopt.timeframe import parse_timeframe

Variant = Literal["upright", "mirrored", "shuffled", "blank", "noisy"]
VARIANTS: tuple[Variant, ...] = ("upright", "mirrored", "shuffled", "blank", "noisy")


@dataclass(frozen=True, eq=False, kw_only=True)
class Asked:
    """One question.

    Attributes
    ----------
    sample, task, variant : str
        Which chart, which question, which control; together its name.
    bars : BarArrays
        What is shown; a reader with eyes draws them by `TaskSetInfo.config.pictures`.
    truth : dict
        The right answer.
    source, kind : str
        Where the chart comes from and what was planted.
    """

    sample: str
    task: str
    variant: Variant
    bars: BarArrays
    truth: Mapping[str, Any]
    source: str
    kind: str

    @property
    def name(self) -> tuple[str, str, str]:
        """Sample, task and variant."""
        return self.sample, self.task, self.variant

    def messages(self, *, numbers: bool = False) -> list[dict[str, Any]]:
        """Return the system's and the user's message, as in training."""
        return TASKS[self.task].messages(Chart(bars=self.bars), numbers=numbers)

    @property
    def answer_schema(self) -> dict[str, Any]:
        """The JSON schema of the answer."""
        return TASKS[self.task].schema(len(self.bars))


def asked_of(
    folder: Path,
    info: TaskSetInfo,
    split: str,
    *,
    tasks: Sequence[str] | None = None,
    most: int | None = None,
    controls: int = 100,
) -> Iterator[Asked]:
    """Yield every question of a split, each followed by its controls.

    Parameters
    ----------
    folder : Path
        The set.
    info : TaskSetInfo
        Its facts.
    split : str
        One of its splits.
    tasks : sequence of str, optional
        The only ones to ask.
    most : int, optional
        Most charts, spread over the split.
    controls : int
        Charts of these that are also asked as controls, spread likewise.

    Raises
    ------
    ConfigError
        If there is no such split or task.
    DataError
        If a file cannot be read.
    """
    _check_known(split, info.splits, "split", folder)
    for task in tasks or ():
        _check_known(task, info.tasks, "task", folder)
    wanted = set(info.tasks if tasks is None else tasks)
    shown = _bars(Path(folder), split)
    rows = _rows(Path(folder), info, split)
    samples = list(shown)
    picked = _spread(samples, len(samples) if most is None else most)
    controlled = set(_spread(picked, controls))
    for number, sample in enumerate(picked):
        bars = shown[sample]
        for row in rows.get(sample, []):
            if row["task"] not in wanted:
                continue
            truth = msgspec.json.decode(row["answer"])
            for variant in VARIANTS if sample in controlled else VARIANTS[:1]:
                changed = _changed(bars, variant, number)
                known = _truth(row["task"], truth, variant, changed, row["source"])
                if known is not None:
                    yield Asked(
                        sample=sample,
                        task=row["task"],
                        variant=variant,
                        bars=changed,
                        truth=known,
                        source=row["source"],
                        kind=row["kind"],
                    )


def _check_known(name: str, known: Iterable[str], what: str, folder: Path) -> None:
    if name not in set(known):
        raise ConfigError(f"There is no {what} {name!r} in {folder}. Choose one of {', '.join(known)}.")


def _spread(samples: Sequence[str], count: int) -> list[str]:
    """Return so many of the samples, evenly spread."""
    count = min(count, len(samples))
    return [samples[i * len(samples) // count] for i in range(count)] if count else []


def _changed(bars: BarArrays, variant: Variant, seed: int) -> BarArrays:
    if variant == "mirrored":
        return mirrored_bars(bars)
    if variant == "shuffled":
        return shuffled_bars(bars, seed=seed)
    if variant == "noisy":
        return noisy_bars(bars, seed=seed)
    if variant == "blank":
        blank = blank_bars(seed=seed)
        at = np.arange(len(bars)) % len(blank)
        names = ("open", "high", "low", "close")
        return _replaced(bars, {name: getattr(blank, name)[at] for name in names})
    return bars


def _replaced(bars: BarArrays, prices: Mapping[str, Any]) -> BarArrays:
    return BarArrays(
        instrument=bars.instrument,
        timeframe=bars.timeframe,
        price=bars.price,
        ts_open_ns=bars.ts_open_ns,
        volume=bars.volume,
        data_hash="",
        synthetic=bars.synthetic,
        **prices,
    )


def _truth(
    task: str, truth: Mapping[str, Any], variant: Variant, bars: BarArrays, source: str
) -> Mapping[str, Any] | None:
    """Return what is true of a control; None where nothing can be said."""
    if variant in ("upright", "shuffled", "blank"):
        return truth
    if variant == "mirrored":
        return mirrored_truth(task, truth, bars, source)
    if TASKS[task].origin in ("definition", "rules"):
        # Whoever defines the answer defines it of these bars too.
        return TASKS[task].answer(Chart(bars=bars))
    return None if task == "analysis" else truth


def _bars(folder: Path, split: str) -> dict[str, BarArrays]:
    found = {}
    for row in _table(folder / BARS_FOLDER / f"{split}.parquet").iter_rows(named=True):
        prices: dict[str, Any] = {
            name: np.array(row[name], np.float64) for name in ("open", "high", "low", "close")
        }
        found[row["sample"]] = BarArrays(
            instrument=row["instrument"],
            timeframe=parse_timeframe(row["timeframe"]),
            price="bid",
            ts_open_ns=np.array(row["ts_open_ns"], np.int64),
            volume=np.zeros(len(row["open"])),
            data_hash="",
            synthetic=bool(row["kind"]),
            **prices,
        )
    return found


def _rows(folder: Path, info: TaskSetInfo, split: str) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for file in info.files:
        if file.split == split:
            table = _table(folder / file.path, ["sample", "task", "answer", "source", "kind"])
            for row in table.iter_rows(named=True):
                found.setdefault(row["sample"], []).append(row)
    return found


def _table(path: Path, columns: list[str] | None = None) -> pl.DataFrame:
    try:
        return pl.read_parquet(path, columns=columns)
    except (OSError, pl.exceptions.PolarsError) as failure:
        raise DataError(f"The file cannot be read: {failure}. Build the set again.", file=path) from failure
