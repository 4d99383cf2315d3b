"""What `dataset.json` of a set of tasks holds, and reading it.

Owns the document.  Knows nothing of how sets are built.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from aiopt.config import decode
from aiopt.dataset.info import INFO_FILE, ShardFile
from aiopt.dataset.tasks.task_config import LAYOUT, TaskSetConfig
from aiopt.errors import DataError

BARS_FOLDER = "bars"


class Majority(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The most frequent class of the train split, and how often it is right.

    Attributes
    ----------
    choice : str
        The class; of equally frequent ones the first in the alphabet.
    share : float
        Of the rows of this split: what a reader must beat that looks at no chart.
    """

    choice: str
    share: float


class TaskFacts(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One task.

    Attributes
    ----------
    origin : str
        Where answers come from, see `aiopt.dataset.tasks.task_kinds`.
    from_future : bool
        Whether they read bars after the chart.
    question : str
        As asked; empty where the analyst's own messages ask.
    answer_schema : dict
        JSON schema of the answers: what serving holds the model to.
    """

    origin: str
    from_future: bool
    question: str
    answer_schema: dict[str, Any]


class Span(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Time that the charts of a split show or look ahead to, UTC: first bar's opening, last bar's close."""

    first_ns: int
    last_ns: int


class TaskSplit(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One split.

    Attributes
    ----------
    rows, charts : int
        Questions, and charts they are about.
    balance : dict of str to dict of str to int
        Rows of each class, by task.
    majority : dict of str to Majority
        By task.
    spans : dict of str to Span
        By series of real bars, e.g. ``EURUSD-5m``; none of generated charts.
    kinds : dict of str to int
        Charts of each planted kind.
    first_decision_ns, last_decision_ns : int or None
        Closes of the first and the last chart of real bars.
    """

    rows: int
    charts: int
    balance: dict[str, dict[str, int]]
    majority: dict[str, Majority]
    spans: dict[str, Span]
    kinds: dict[str, int]
    first_decision_ns: int | None = None
    last_decision_ns: int | None = None


class TaskSetInfo(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Content of ``dataset.json`` of a set of tasks.

    Attributes
    ----------
    layout : str
        Version of files and columns, ``tasks/1``.
    config : TaskSetConfig
        What the set was made with.
    key : str
        Hash of configuration, bars and versions: equal keys, equal sets.
    versions : dict of str to str
        Of questions, answers and rules.
    bars_hashes : dict of str to str
        Of each series of real bars.
    synthetic : bool
        True if every chart was generated.
    instrument, timeframe : str
        Of all real bars, joined by commas; ``generated`` and ``5m`` where there are none.
    rows, charts : int
        Of all splits.
    left_out : dict of str to int
        Windows of real bars that are no chart, by reason.
    tasks : dict of str to TaskFacts
        By name.
    splits : dict of str to TaskSplit
        By name.
    files : list of ShardFile
        Rows under the split's name, bars of its charts under ``SPLIT_bars``.
    """

    layout: str
    config: TaskSetConfig
    key: str
    versions: dict[str, str]
    bars_hashes: dict[str, str]
    synthetic: bool
    instrument: str
    timeframe: str
    rows: int
    charts: int
    left_out: dict[str, int]
    tasks: dict[str, TaskFacts]
    splits: dict[str, TaskSplit]
    files: list[ShardFile]


def is_task_set(folder: Path) -> bool:
    """Tell whether a folder holds a finished set of tasks, rather than another dataset or none."""
    try:
        document = msgspec.json.decode((Path(folder) / INFO_FILE).read_bytes())
    except (OSError, msgspec.DecodeError):
        return False
    return isinstance(document, dict) and str(document.get("layout", "")).startswith("tasks/")


def read_task_info(folder: Path) -> TaskSetInfo:
    """Read the facts of a finished set of tasks.

    Raises
    ------
    DataError
        If there is none, or one this version cannot read.
    """
    path = Path(folder) / INFO_FILE
    if not path.is_file():
        msg = f"This is no finished set of tasks: {INFO_FILE} is missing. Run `aiopt dataset build` with a "
        raise DataError(f"{msg}configuration that has `tasks` or `sources`.", file=folder)
    try:
        document: Any = msgspec.json.decode(path.read_bytes())
    except msgspec.DecodeError as failure:
        msg = f"The file is not valid JSON: {failure}. Build the set again."
        raise DataError(msg, file=path) from failure
    layout = document.get("layout") if isinstance(document, dict) else None
    if layout != LAYOUT:
        msg = f"`layout = {LAYOUT}` must hold for a set of tasks, but got {layout!r}. "
        raise DataError(f"{msg}Name a set of tasks, or build it again.", file=path)
    return decode(document, TaskSetInfo, where=str(path), error=DataError)
