"""Records of datasets as training reads them: a conversation that ends with its answer, and its picture.

Owns which columns of a dataset are read (``messages``; ``image`` or ``image_file``; ``task``, ``weight``,
``reading_bias`` and ``sample`` where there), and the refusal of rows without an answer or with one no engine
could give.  Knows nothing of tokens.  Rows are read by row group when they are needed; the last ones stay in
memory.
"""

from __future__ import annotations

import bisect
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from aiopt.dataset.info import DATA_FOLDER, INFO_FILE
from aiopt.dataset.positions.preferences import READING_COLUMN
from aiopt.errors import DataError
from aiopt.files import MIB, sha256_file

CACHE_BYTES = 512 * MIB
"""Of row groups in memory."""

_PNG = b"\x89PNG\r\n\x1a\n"


class _File(msgspec.Struct, frozen=True):
    path: str
    split: str
    rows: int
    sha256: str


class DatasetFacts(msgspec.Struct, frozen=True):
    """What training reads of ``dataset.json``; every other key is the dataset's own affair.

    Attributes
    ----------
    files : list of struct
        Path below the folder, split, rows and SHA-256 of each file.
    instrument, timeframe : str
        For the model card.
    splits : dict
        First and last decision of each split, for the model card.
    synthetic : bool
        Whether the bars were generated.
    """

    files: list[_File]
    instrument: str = ""
    timeframe: str = ""
    splits: dict[str, dict[str, Any]] = {}
    synthetic: bool = False

    @property
    def rows(self) -> list[_File]:
        """Files of rows; sets of tasks hold bars as well."""
        return [file for file in self.files if file.path.startswith(DATA_FOLDER)]


@dataclass(frozen=True)
class Record:
    """One conversation.

    Attributes
    ----------
    where : str
        File and row, for messages.
    sample : str
        Name of the row.
    messages : list of dict
        As chat templates take them, the answer last.
    png : bytes or None
        The picture of the question.
    """

    where: str
    sample: str
    messages: list[dict[str, Any]]
    png: bytes | None

    @property
    def answer(self) -> str:
        """Text of the last message."""
        return text_of(self.messages[-1])


@dataclass(frozen=True)
class _Shard:
    folder: Path
    file: pq.ParquetFile
    path: Path
    starts: tuple[int, ...]
    """First row of each row group."""


class Records(Sequence[Record]):
    """All rows of a split of one or more datasets.

    Parameters
    ----------
    folders : sequence of Path
        Finished datasets.
    split : str
        E.g. ``train``.

    Raises
    ------
    DataError
        If a folder is no finished dataset, has no such split or no conversations, or a row has no answer.
    """

    def __init__(self, folders: Sequence[Path], split: str) -> None:
        self.split = split
        self.facts: dict[str, DatasetFacts] = {}
        self.answers: list[str] = []
        self.tasks: list[str] = []
        self.weights: list[float] = []
        self.reading_biases: list[str | None] = []
        self.datasets: list[str] = []
        self._shards: list[_Shard] = []
        self._first: list[int] = []
        self._cache: OrderedDict[tuple[int, int], pa.Table] = OrderedDict()
        if not folders:
            raise DataError("A training must have at least one dataset, but got none. Give --data DATASET.")
        for folder in folders:
            facts = read_facts(folder)
            name = Path(folder).resolve().name
            if name in self.facts:
                raise DataError(f"Datasets must have folders of different names, but {name!r} comes twice.")
            self.facts[name] = facts
            files = [file for file in facts.rows if file.split == split]
            if not files:
                splits = ", ".join(sorted({file.split for file in facts.rows}))
                raise DataError(f"There is no split {split!r}, only {splits}.", file=folder)
            for file in files:
                self._add(Path(folder), Path(folder) / file.path, name)

    def __len__(self) -> int:
        return len(self.answers)

    def __iter__(self) -> Iterator[Record]:
        return (self[number] for number in range(len(self)))

    def __getitem__(self, number: Any) -> Any:
        """Return a record by its number; slices are not taken."""
        shard_number = bisect.bisect_right(self._first, number) - 1
        shard, row = self._shards[shard_number], number - self._first[shard_number]
        group = bisect.bisect_right(shard.starts, row) - 1
        table = self._group(shard_number, group)
        at = row - shard.starts[group]
        names = set(table.column_names)
        png = None
        if "image" in names:
            png = _cell_png(shard, row, table["image"][at].as_py())
        elif "image_file" in names:
            png = _cell_png(shard, row, table["image_file"][at].as_py())
        return Record(
            where=f"{shard.path}, row {row}",
            sample=table["sample"][at].as_py() if "sample" in names else f"{shard.path.name}-{row}",
            messages=[_plain(message) for message in table["messages"][at].as_py()],
            png=png,
        )

    def pictures(self) -> Iterator[tuple[str, bytes]]:
        """Yield place and PNG of every row that has one, in order; of a file that several rows name once."""
        for shard in self._shards:
            seen: set[str] = set()
            names = set(shard.file.schema_arrow.names)
            row = 0
            for group in range(shard.file.num_row_groups if names & {"image", "image_file"} else 0):
                column = "image" if "image" in names else "image_file"
                for cell in shard.file.read_row_group(group, columns=[column])[column].to_pylist():
                    # A set of tasks asks many questions of one chart.
                    known = isinstance(cell, str) and cell in seen
                    png = None if known else _cell_png(shard, row, cell)
                    if isinstance(cell, str):
                        seen.add(cell)
                    if png is not None:
                        yield f"{shard.path}, row {row}", png
                    row += 1

    def _add(self, folder: Path, path: Path, dataset: str) -> None:
        try:
            file = pq.ParquetFile(path, memory_map=True)
        except (OSError, pa.ArrowInvalid) as failure:
            msg = f"The file cannot be read: {failure}. Build the dataset again."
            raise DataError(msg, file=path) from failure
        names = set(file.schema_arrow.names)
        if "messages" not in names:
            raise DataError(
                "The dataset has no answers to train on: there is no column `messages`. Build it with "
                "conversations, e.g. --messages-horizon 12.",
                file=path,
            )
        columns = ["messages", *(name for name in ("task", "weight", READING_COLUMN) if name in names)]
        row, starts = 0, []
        self._first.append(len(self.answers))
        for group in range(file.num_row_groups):
            starts.append(row)
            table = file.read_row_group(group, columns=columns)
            for messages in table["messages"].to_pylist():
                self.answers.append(_checked_answer(messages, path, row))
                row += 1
            count = table.num_rows
            self.tasks += table["task"].to_pylist() if "task" in columns else [""] * count
            known = READING_COLUMN in columns
            self.reading_biases += table[READING_COLUMN].to_pylist() if known else [None] * count
            self.weights += _weights(table, path, row - count)
            self.datasets += [dataset] * count
        self._shards.append(_Shard(folder, file, path, tuple(starts)))

    def _group(self, shard: int, group: int) -> pa.Table:
        key = (shard, group)
        if key in self._cache:
            self._cache.move_to_end(key)
            return self._cache[key]
        file = self._shards[shard].file
        wanted = {"sample", "messages", "image", "image_file"} & set(file.schema_arrow.names)
        self._cache[key] = file.read_row_group(group, columns=sorted(wanted))
        while len(self._cache) > 1 and sum(table.nbytes for table in self._cache.values()) > CACHE_BYTES:
            self._cache.popitem(last=False)
        return self._cache[key]


def read_facts(folder: Path) -> DatasetFacts:
    """Read what training needs of ``dataset.json``.

    Raises
    ------
    DataError
        If the folder is no finished dataset.
    """
    path = Path(folder) / INFO_FILE
    if not path.is_file():
        raise DataError(
            f"This is not a finished dataset: {INFO_FILE} is missing. Make one with `aiopt dataset build`.",
            file=folder,
        )
    try:
        return msgspec.json.decode(path.read_bytes(), type=DatasetFacts)
    except msgspec.MsgspecError as failure:
        raise DataError(f"The file cannot be read: {failure}. Build it again.", file=path) from failure


def verify_data(folders: Sequence[Path]) -> list[dict[str, Any]]:
    """Check every file against the SHA-256 its dataset recorded; return what identifies the data.

    Raises
    ------
    DataError
        If a file is missing or was changed.
    """
    found = []
    for folder in folders:
        facts = read_facts(folder)
        for file in facts.files:
            path = Path(folder) / file.path
            if not path.is_file() or sha256_file(path) != file.sha256:
                state = "has another content than recorded" if path.is_file() else "is missing"
                raise DataError(f"A dataset must be whole, but this file {state}. Build it again.", file=path)
        hashes = [[file.path, file.split, file.sha256] for file in facts.files]
        found.append({"name": Path(folder).resolve().name, "files": hashes})
    return found


def text_of(message: dict[str, Any]) -> str:
    """Return the text of a message, whose content is a text or a list of parts."""
    content = message.get("content")
    if isinstance(content, str):
        return content
    return "".join(part.get("text") or "" for part in content or [] if part.get("type") == "text")


def png_size(png: bytes, *, where: str) -> tuple[int, int]:
    """Return width and height of a PNG in pixels.

    Raises
    ------
    DataError
        If it is none.
    """
    if png[:8] != _PNG or len(png) < 24:
        raise DataError(f"{where}: the picture must be a PNG, but is not. Build the dataset again.")
    return int.from_bytes(png[16:20], "big"), int.from_bytes(png[20:24], "big")


def _checked_answer(messages: list[dict[str, Any]] | None, path: Path, row: int) -> str:
    roles = [message.get("role") for message in messages or []]
    answer = text_of(messages[-1]) if messages and roles[-1] == "assistant" else ""
    if not answer.strip() or "user" not in roles:
        raise DataError(
            "A row must hold a question and end with an answer of the assistant, but its roles are "
            f"{roles} and its answer is {answer[:40]!r}. Build the dataset with conversations.",
            file=path,
            row=row,
        )
    return answer


def _weights(table: pa.Table, path: Path, first: int) -> list[float]:
    """Return the weight of each row; 1 where a dataset has none."""
    if "weight" not in table.column_names:
        return [1.0] * table.num_rows
    found: list[float] = table["weight"].to_pylist()
    for row, weight in enumerate(found, first):
        if not (weight is not None and 0 < weight < float("inf")):
            msg = f"`weight > 0` must hold for every row, but is {weight}. Build the dataset again."
            raise DataError(msg, file=path, row=row)
    return found


def _cell_png(shard: _Shard, row: int, cell: Any) -> bytes | None:
    """Return the PNG of a cell: bytes, a file's name, or nothing where the question has no picture."""
    if cell is None:
        return None
    return cell["bytes"] if isinstance(cell, dict) else _read_picture(shard, row, cell)


def _read_picture(shard: _Shard, row: int, name: str) -> bytes:
    path = shard.folder / name
    try:
        return path.read_bytes()
    except OSError as failure:
        msg = f"The chart of row {row} cannot be read ({failure.strerror}). Build the dataset again."
        raise DataError(msg, file=path) from failure


def _plain(message: dict[str, Any]) -> dict[str, Any]:
    """Return a message without the nulls that Arrow fills absent keys with."""
    parts = [{key: value for key, value in part.items() if value is not None} for part in message["content"]]
    return {"role": message["role"], "content": parts}
