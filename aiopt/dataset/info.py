"""What `dataset.json` holds: the facts of a dataset, as data.

Owns the document and reading it.  Knows nothing of how datasets are built.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import msgspec

from aiopt.config import decode
from aiopt.dataset.dataset_config import SCHEMA_VERSION, DatasetConfig
from aiopt.dataset.splits import SPLITS, ColumnScale
from aiopt.errors import DataError
from aiopt.files import sha256_file

INFO_FILE = "dataset.json"
DATA_FOLDER = "data"
CHART_FOLDER = "charts"


class ShardFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One Parquet file.

    Attributes
    ----------
    path : str
        Below the dataset's folder.
    split : str
        Split of all its rows.
    rows, bytes : int
        Size.
    sha256 : str
        Of the file.
    """

    path: str
    split: str
    rows: int
    bytes: int
    sha256: str


class SplitInfo(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One split.

    Attributes
    ----------
    rows : int
        Rows.
    first_decision_ns, last_decision_ns, last_label_ns : int
        Closes of the first and last decision bar, and of the last bar a label reads, UTC.
    balance : dict of str to dict of str to int
        Rows of SELL, HOLD and BUY for each class label.
    """

    rows: int
    first_decision_ns: int
    last_decision_ns: int
    last_label_ns: int
    balance: dict[str, dict[str, int]]


class DatasetInfo(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Content of ``dataset.json``.

    Attributes
    ----------
    schema_version : int
        Layout of files and columns.
    config : DatasetConfig
        What the dataset was made with.
    config_hash, data_hash, bars_hash : str
        Of the configuration; of the ticks the bars were built from; of the bars themselves.
    instrument, timeframe : str
        Of the bars.
    synthetic : bool
        True if the bars were generated.
    bars, rows : int
        Bars read, rows written.
    left_out : dict of str to int
        Bars that are no row, by reason; with `rows` they sum to `bars`.
    purge_bars, embargo_bars, longest_label : int
        Bars.
    messages : dict of str to str or None
        Versions of the analyst's prompt, answer schema and rules that conversations were made with.
    feature_columns, label_columns, class_columns : list of str
        Columns of the files.
    scale : dict of str to ColumnScale
        Statistics of each feature over the train split; the files hold unscaled values.
    splits : dict of str to SplitInfo
        By name.
    files : list of ShardFile
        In the order of their names.
    """

    schema_version: int
    config: DatasetConfig
    config_hash: str
    data_hash: str
    bars_hash: str
    instrument: str
    timeframe: str
    synthetic: bool
    bars: int
    rows: int
    left_out: dict[str, int]
    purge_bars: int
    embargo_bars: int
    longest_label: int
    messages: dict[str, str] | None
    feature_columns: list[str]
    label_columns: list[str]
    class_columns: list[str]
    scale: dict[str, ColumnScale]
    splits: dict[str, SplitInfo]
    files: list[ShardFile]


def read_info(folder: Path) -> DatasetInfo:
    """Read the facts of a finished dataset.

    Raises
    ------
    DataError
        If there is no finished dataset, or one this version cannot read.
    """
    path = Path(folder) / INFO_FILE
    if not path.is_file():
        building = (Path(folder) / DATA_FOLDER).is_dir()
        state = "its build was not finished" if building else "there is none"
        msg = (
            f"This is not a finished dataset: {INFO_FILE} is missing, {state}. Run `aiopt dataset build` "
            f"with this folder."
        )
        raise DataError(msg, file=folder)
    try:
        document: Any = msgspec.json.decode(path.read_bytes())
    except msgspec.DecodeError as failure:
        msg = f"The file is not valid JSON: {failure}. Build the dataset again."
        raise DataError(msg, file=path) from failure
    if isinstance(document, dict) and "layout" in document:
        msg = "This is a set of tasks, not a dataset of features and labels. Read it with "
        raise DataError(f"{msg}`aiopt.dataset.tasks.read_task_info`.", file=path)
    version = document.get("schema_version") if isinstance(document, dict) else None
    if version != SCHEMA_VERSION:
        msg = f"`schema_version = {SCHEMA_VERSION}` must hold, but got {version!r}. Build it again."
        raise DataError(msg, file=path)
    return decode(document, DatasetInfo, where=str(path), error=DataError)


class WithFiles(Protocol):
    """Facts that name files: of a dataset or of a set of tasks."""

    @property
    def files(self) -> list[ShardFile]:
        """All files."""
        ...


def verify_files(folder: Path, info: WithFiles) -> list[str]:
    """Return what is wrong with the files of a dataset: missing, or of other content than recorded."""
    found = []
    for file in info.files:
        path = Path(folder) / file.path
        if not path.is_file():
            found.append(f"{file.path} is missing")
        elif sha256_file(path) != file.sha256:
            found.append(f"{file.path} has another SHA-256 than recorded")
    return found


def split_files(folder: Path, split: str) -> list[Path]:
    """Return the files of a split in order.

    Raises
    ------
    DataError
        If the dataset has no such split.
    """
    info = read_info(folder)
    if split not in info.splits:
        known = ", ".join(name for name in SPLITS if name in info.splits)
        msg = f"There is no split {split!r}. Choose one of {known}."
        raise DataError(msg, file=folder)
    return [Path(folder) / file.path for file in info.files if file.split == split]
