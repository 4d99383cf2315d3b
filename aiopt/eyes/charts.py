"""Charts of sets of tasks as pixels and classes, for networks that are trained on them without words.

Owns reading them, once: pictures of a set at one size are kept beside the other files of the recipe.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from PIL import Image

from aiopt.dataset.tasks.task_kinds import TASKS
from aiopt.errors import ConfigError, DataError
from aiopt.eyes.answering import possible_answers

UNKNOWN = -1
"""Label of a chart that has no answer to a task."""


@dataclass(frozen=True)
class Size:
    """Pixels of a picture as it is read."""

    width: int
    height: int


@dataclass(frozen=True, eq=False)
class Charts:
    """Charts of a split.

    Attributes
    ----------
    pictures : tensor of shape (n, height, width, 3), uint8
        What is seen.
    labels : tensor of shape (n, tasks), int64
        Number of the class of each answer, `UNKNOWN` where there is none.
    """

    pictures: torch.Tensor
    labels: torch.Tensor


def answers_of(task: str) -> list[str]:
    """Return every answer of a task, one per class.

    Raises
    ------
    ConfigError
        If there are too many.
    """
    # The number of bars decides the answers of tasks about places alone.
    texts = possible_answers(TASKS[task].schema(1))
    if texts is None:
        msg = f"Tasks must have answers of a few words here, but {task!r} asks for bars or prices."
        raise ConfigError(f"{msg} Leave it out.")
    return texts


def class_of(task: str, text: str) -> str:
    """Return the class of an answer's text."""
    return str(TASKS[task].choice(msgspec.json.decode(text)))


def load_charts(
    folders: Sequence[Path],
    split: str,
    tasks: Sequence[str],
    size: Size,
    *,
    most: int | None = None,
    progress: Callable[[int], None] | None = None,
) -> Charts:
    """Read the charts of a split of some sets.

    Parameters
    ----------
    folders : sequence of Path
        The sets, with their pictures as files.
    split : str
        E.g. ``train``.
    tasks : sequence of str
        Whose answers are the labels.
    size : Size
        Pictures are shrunk to it as a model's processor does.
    most : int, optional
        Most charts of a set, spread over it.
    progress : callable, optional
        Called with the charts read.

    Raises
    ------
    DataError
        If a set embeds its pictures, or there are no charts.
    """
    classes = [[class_of(task, text) for text in answers_of(task)] for task in tasks]
    pictures: list[NDArray[np.uint8]] = []
    labels: list[list[int]] = []
    for folder in folders:
        for path in sorted((folder / "data").glob(f"{split}-*.parquet")):
            table = pl.read_parquet(path)
            if "image_file" not in table.columns:
                msg = "Pictures are read from files here, but the set embeds them. Use `store: files`."
                raise DataError(msg, file=path)
            rows = table.filter(pl.col("task").is_in(list(tasks)))
            every = max(1, -(-rows["image_file"].n_unique() // most)) if most else 1
            for number, ((name,), group) in enumerate(rows.group_by(["image_file"], maintain_order=True)):
                if number % every:
                    continue
                found = dict(zip(group["task"], group["choice"], strict=True))
                labels.append(
                    [
                        names.index(found[task]) if task in found else UNKNOWN
                        for task, names in zip(tasks, classes, strict=True)
                    ]
                )
                pictures.append(pixels((folder / str(name)).read_bytes(), size))
                if progress is not None:
                    progress(len(pictures))
    if not pictures:
        msg = f"There must be charts to read, but split {split} of the sets has none with {', '.join(tasks)}."
        raise DataError(msg, file=folders[0] if folders else None)
    return Charts(torch.from_numpy(np.stack(pictures)), torch.tensor(labels))


def pixels(png: bytes, size: Size) -> NDArray[np.uint8]:
    """Return a picture of shape (height, width, 3)."""
    with Image.open(io.BytesIO(png)) as picture:
        seen = picture.convert("RGB").resize((size.width, size.height), Image.Resampling.BICUBIC)
    return np.asarray(seen, dtype=np.uint8)
