"""How often a set's test splits were looked at: a line in ``looks.jsonl`` beside the data for each time.

A test set is worth one look.  Whoever looks, changes the reader and looks again, fits it to the test; nothing
can prevent that, but it can be counted.  Owns the file; judges nothing.
"""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from aiopt.config import canonical_json, decode
from aiopt.dataset.tasks.task_info import TaskSetInfo
from aiopt.errors import DataError
from aiopt.files import file_lock, storage_error

LOOKS_FILE = "looks.jsonl"

FREE_SPLITS = ("train", "validation")
"""Splits that one may look at as often as one likes."""


class Look(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One look.

    Attributes
    ----------
    at_ns : int
        When, UTC.
    reader, split : str
        Who was judged on what.
    questions : int
        Upright questions judged.
    set_key : str
        `TaskSetInfo.key` of the set at that time.
    """

    at_ns: int
    reader: str
    split: str
    questions: int
    set_key: str


def looks_at(folder: Path) -> list[Look]:
    """Return all looks at a set, in order.

    Raises
    ------
    DataError
        If the file is damaged: names the line.
    """
    path = Path(folder) / LOOKS_FILE
    if not path.is_file():
        return []
    found = []
    for row, line in enumerate(path.read_bytes().splitlines()):
        try:
            found.append(decode(msgspec.json.decode(line), Look, where="look", error=DataError))
        except (msgspec.DecodeError, DataError) as failure:
            msg = f"The log of looks is damaged: {failure}. Restore it; a set without its log proves nothing."
            raise DataError(msg, file=path, row=row) from failure
    return found


def record_look(
    folder: Path, info: TaskSetInfo, split: str, *, reader: str, questions: int, at_ns: int
) -> int:
    """Record a look at a split before its result is shown, and return how many there were at it.

    Parameters
    ----------
    folder : Path
        The set.
    info : TaskSetInfo
        Its facts.
    split : str
        What is looked at; train and validation are free and not recorded.
    reader : str
        Who is judged.
    questions : int
        How many.
    at_ns : int
        Now, UTC.

    Returns
    -------
    int
        Looks at this split, this one included; 0 for train and validation.

    Raises
    ------
    DataError
        If the log is damaged.
    StorageError
        If it cannot be written: then nothing may be shown.
    """
    if split in FREE_SPLITS:
        return 0
    path = Path(folder) / LOOKS_FILE
    look = Look(at_ns=at_ns, reader=reader, split=split, questions=questions, set_key=info.key)
    try:
        with file_lock(path.with_name(f".{LOOKS_FILE}.lock")):
            before = sum(one.split == split for one in looks_at(folder))
            with path.open("ab") as log:
                log.write(canonical_json(look) + b"\n")
                log.flush()
                os.fsync(log.fileno())
    except OSError as failure:
        raise storage_error(path, failure) or failure from failure
    return before + 1
