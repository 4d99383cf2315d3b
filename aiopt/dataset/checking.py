"""Whether a dataset's answers can be given in service.

Owns walking the answers of a finished dataset.  What the grammar accepts is `aiopt.analyst.answers`'s.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from aiopt.analyst.answers import why_refused
from aiopt.analyst.schema import ANALYSIS_SCHEMA
from aiopt.dataset.info import DATA_FOLDER, read_info
from aiopt.dataset.tasks.task_info import is_task_set, read_task_info
from aiopt.errors import DataError

_BATCH_ROWS = 500


def check_answers(folder: Path, *, progress: Callable[[int], None] | None = None) -> int:
    """Hold every answer of a dataset against the serving grammar.

    Parameters
    ----------
    folder : Path
        A finished dataset.
    progress : callable, optional
        Called with the rows checked.

    Returns
    -------
    int
        Answers checked.

    Raises
    ------
    DataError
        If there are no answers, or the grammar rejects one: names the file and the row.
    """
    schemas: Mapping[str, Mapping[str, Any]] | None = None
    if is_task_set(folder):
        tasks = read_task_info(folder)
        schemas = {name: facts.answer_schema for name, facts in tasks.tasks.items()}
        paths = [Path(folder) / file.path for file in tasks.files if file.path.startswith(DATA_FOLDER)]
    else:
        info = read_info(folder)
        if info.messages is None:
            msg = "The dataset holds no conversations, so nothing in it can train a reader. Build it with "
            raise DataError(f"{msg}--messages-horizon.", file=folder)
        paths = [Path(folder) / file.path for file in info.files]
    checked = 0
    for path in paths:
        row = 0
        try:
            columns = ["messages"] if schemas is None else ["messages", "task"]
            for batch in pq.ParquetFile(path).iter_batches(_BATCH_ROWS, columns=columns):
                for one in batch.to_pylist():
                    schema = ANALYSIS_SCHEMA if schemas is None else schemas[one["task"]]
                    _check(one["messages"], schema, path, row)
                    row += 1
                    checked += 1
                if progress is not None:
                    progress(checked)
        except (OSError, KeyError) as failure:
            msg = f"The file cannot be read: {failure}. Build the dataset again."
            raise DataError(msg, file=path) from failure
    return checked


def _check(messages: list[dict[str, Any]] | None, schema: Mapping[str, Any], path: Path, row: int) -> None:
    last = (messages or [{}])[-1]
    text = "".join(part.get("text") or "" for part in last.get("content") or [])
    if last.get("role") != "assistant" or not text:
        raise DataError("The conversation has no answer. Build the dataset again.", file=path, row=row)
    reason = why_refused(text, schema)
    if reason:
        msg = f"The serving grammar rejects the answer, so no engine could give it: {reason} "
        raise DataError(f"{msg}Build the dataset again with this version.", file=path, row=row)
