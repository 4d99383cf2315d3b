"""A script from its file: found, not far too large, UTF-8 text.  Knows no grammar."""

from __future__ import annotations

from pathlib import Path

from aiopt.errors import ConfigError
from aiopt.pine.parsing.faults import MAX_CHARACTERS

BYTE_ORDER_MARK = "\ufeff"
MAX_BYTES = 64 * MAX_CHARACTERS
"""More is not even read; what is less and still too large is refused by the parser, which says its limit."""

_UTF_16 = (b"\xff\xfe", b"\xfe\xff")


def read_script_file(path: Path, *, as_written: bool = False) -> str:
    """Return the text of a script.

    Parameters
    ----------
    path : Path
        The file.
    as_written : bool
        Keep line ends and a byte order mark as they are in the file; else lines end with a line feed, and
        there is no mark.

    Raises
    ------
    ConfigError
        If there is no such file, it is no file, empty, far too large, or not UTF-8 text.
    """
    if path.is_dir():
        raise ConfigError(f"{path} is a folder, not a script. Give the path of one .pine file.")
    if not path.exists():
        raise ConfigError(f"There is no file {path}. Check the path.")
    if not path.is_file():
        raise ConfigError(f"{path} is no regular file (a device or a pipe). Give the path of a .pine file.")
    size = path.stat().st_size
    if size > MAX_BYTES:
        raise ConfigError(
            f"{path} has {size:,} bytes, far more than a script has. Is this the right file? Check the path."
        )
    content = path.read_bytes()
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as failure:
        said = f"{path} is not UTF-8 text ({failure.reason} at byte {failure.start:,})."
        if content.startswith(_UTF_16):
            raise ConfigError(f"{said} It looks like UTF-16: save it again as UTF-8.") from failure
        raise ConfigError(
            f"{said} Is this the right file? If it is a script, save it again as UTF-8."
        ) from failure
    if not text.strip(f"{BYTE_ORDER_MARK} \t\r\n"):
        raise ConfigError(f"{path} is empty: it holds no script. Check the path, or save the script again.")
    if as_written:
        return text
    return text.removeprefix(BYTE_ORDER_MARK).replace("\r\n", "\n").replace("\r", "\n")
