"""One log of many sessions: their lines in the order in which they came, each once.

Owns that file and how far it is in each session's log.  Whoever died while it followed them goes on by the
numbers of the lines that are there.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from aiopt.errors import StorageError
from aiopt.files import storage_error
from aiopt.live.report.session_log import NAME


class MergedLog:
    """The file.

    Parameters
    ----------
    path : Path
        The file; what it has is gone on from.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        self._numbers: dict[str, int] = {}
        self._offsets: dict[Path, int] = {}
        size = 0
        if self.path.is_file():
            with self.path.open("rb") as stream:
                for line in stream:
                    if not line.endswith(b"\n"):
                        break  # torn: its process died
                    self._take_up(line)
                    size += len(line)
            with self.path.open("r+b") as stream:
                stream.truncate(size)

    def __repr__(self) -> str:
        return f"MergedLog({self.path}, {len(self._numbers)} sessions)"

    def _take_up(self, line: bytes) -> None:
        record = json.loads(line)
        if "number" in record:
            self._numbers[record["name"]] = max(self._numbers.get(record["name"], 0), record["number"])

    def follow(self, folders: Mapping[str, Path]) -> int:
        """Add what the sessions have logged since; return the number of lines.

        Parameters
        ----------
        folders : mapping of str to Path
            Folder of each session by its name here.

        Raises
        ------
        StorageError
            If it cannot be written.
        """
        fresh: list[str] = []
        for name, folder in folders.items():
            path = folder / NAME
            if not path.is_file():
                continue
            with path.open("rb") as stream:
                stream.seek(self._offsets.get(path, 0))
                for line in stream:
                    if not line.endswith(b"\n"):
                        break  # being written
                    self._offsets[path] = self._offsets.get(path, 0) + len(line)
                    record = json.loads(line)
                    if record["number"] > self._numbers.get(name, 0):
                        self._numbers[name] = record["number"]
                        fresh.append(json.dumps({"name": name, **record}, ensure_ascii=False))
        self._append(fresh)
        return len(fresh)

    def say(self, name: str, event: str, text: str = "") -> None:
        """Add a line of whoever follows the sessions, e.g. that one was started."""
        self._append([json.dumps({"name": name, "event": event, "text": text}, ensure_ascii=False)])

    def _append(self, lines: list[str]) -> None:
        if not lines:
            return
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a", encoding="utf-8") as stream:
                stream.write("".join(f"{line}\n" for line in lines))
        except OSError as error:
            raise storage_error(self.path, error) or StorageError(
                f"The log {self.path} cannot be written ({error})."
            ) from error
