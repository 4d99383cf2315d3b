"""Files that are no script: every command says what is wrong with them and writes nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from aiopt.bars.schema import BarSet
from aiopt.cli.pine import command
from aiopt.errors import ConfigError, DataError, InputError
from aiopt.market.instrument import instrument
from aiopt.pine.emitter import write_script
from aiopt.pine.parsing.script_file import MAX_BYTES, read_script_file
from aiopt.pine.provenance import Provenance
from aiopt.strategy.families import FAMILIES
from aiopt.testing.bars import random_walk_bars
from aiopt.verification.scripts import task_of_file

SCRIPT = '//@version=5\nindicator("Größe ✓ 日本")\nn = 5 / 2\nplot(n, "é")\n'
NO_SCRIPT = {
    "folder": (None, "is a folder, not a script"),
    "empty": (b"", "is empty: it holds no script"),
    "blank": (b"\xef\xbb\xbf \r\n\t\n", "is empty: it holds no script"),
    "binary": (
        bytes(range(256)) * 40,
        "is not UTF-8 text (invalid start byte at byte 128). Is this the right",
    ),
    "utf_16": (SCRIPT.encode("utf-16"), "It looks like UTF-16: save it again as UTF-8"),
    "latin_1": ('plot(close, "Größe")\n'.encode("latin-1"), "If it is a script, save it again as UTF-8"),
}
COMMANDS = ("check", "fix", "import")


def run(*arguments: str) -> Result:
    return CliRunner().invoke(command, list(arguments), catch_exceptions=False)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def made(name: str) -> tuple[Path, str]:
    content, said = NO_SCRIPT[name]
    path = Path(f"{name}.pine")
    if content is None:
        path.mkdir()
    else:
        path.write_bytes(content)
    return path, said


@pytest.mark.parametrize("name", NO_SCRIPT)
def test_every_command_says_why_a_file_is_no_script(folder: Path, name: str) -> None:
    path, said = made(name)
    messages = set()
    for one in COMMANDS:
        with pytest.raises(ConfigError) as raised:
            run(one, str(path))
        messages.add(str(raised.value))
    with pytest.raises(ConfigError) as raised:
        task_of_file(path, bars())
    messages.add(str(raised.value))
    (message,) = messages
    assert message.startswith(str(path))
    assert said in message
    assert [one.name for one in folder.iterdir()] == [path.name]


@pytest.mark.parametrize("name", ["folder", "empty", "binary", "utf_16"])
def test_compare_says_why_a_file_is_no_list(folder: Path, name: str) -> None:
    path, _ = made(name)
    Path("ours.json").write_text('{"trades": [], "bars": {"instrument": "EURUSD"}}')
    with pytest.raises(ConfigError if name == "folder" else DataError) as raised:
        run("compare", str(path), "ours.json", "--timezone", "UTC")
    assert str(path) in str(raised.value)


def test_a_file_far_too_large_is_not_read(folder: Path) -> None:
    path = Path("large.pine")
    with path.open("wb") as file:
        file.truncate(MAX_BYTES + 1)
    with pytest.raises(ConfigError, match=r"large\.pine has 64,000,001 bytes, far more than a script has"):
        read_script_file(path)


def test_five_megabytes_are_one_error(folder: Path) -> None:
    path = Path("five.pine")
    path.write_text("x = close + 1\n" * 360_000)
    for one in ("check", "import"):
        done = run(one, str(path))
        assert done.exit_code == 1
        assert "The file has 5,040,000 characters, more than the 1,000,000 that are read" in done.stdout
    for call in (lambda: run("fix", str(path)), lambda: task_of_file(path, bars())):
        with pytest.raises(InputError, match="The file has 5,040,000 characters"):
            call()


def test_a_device_is_not_read(folder: Path) -> None:
    Path("zero.pine").symlink_to("/dev/zero")
    with pytest.raises(ConfigError, match=r"zero\.pine is no regular file"):
        read_script_file(Path("zero.pine"))


@pytest.mark.parametrize("mark", ["", "\ufeff"], ids=["plain", "mark"])
@pytest.mark.parametrize("ends", ["\n", "\r\n", "\r"], ids=["lf", "crlf", "cr"])
def test_line_ends_and_a_mark_change_nothing_and_are_kept(folder: Path, ends: str, mark: str) -> None:
    path = Path("ünïcode näme.pine")
    path.write_bytes((mark + SCRIPT.replace("\n", ends)).encode())
    assert read_script_file(path) == SCRIPT
    checked = run("check", str(path))
    assert checked.exit_code == 0
    assert f"{path}: no rule broken" in checked.stdout
    assert run("fix", str(path), "--write").exit_code == 0
    expected = SCRIPT.replace("=5", "=6").replace("5 / 2", "int(5 / 2)")
    assert path.read_bytes().decode() == mark + expected.replace("\n", ends)


def test_verify_tells_the_line_that_cannot_be_read(folder: Path) -> None:
    spec = FAMILIES["rsi_reversion"].spec
    path = write_script(folder, "mine", spec, provenance=Provenance(), instrument=instrument("EURUSD"))
    text = path.read_text()
    path.write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode())
    assert task_of_file(path, bars()).script == text
    line = 1 + text[: text.index('"rsi_length"')].count("\n")
    path.write_text(text.replace('"rsi_length"', '"rsi_length'))
    with pytest.raises(ConfigError, match=rf"mine\.pine cannot be read: line {line}, .* is not ended on its"):
        task_of_file(path, bars())


def bars() -> BarSet:
    one = random_walk_bars(50, seed=4)
    return BarSet(instrument("EURUSD"), one.timeframe, one, one, True, "random-4")
