"""The example in every command's --help: there is one, it is of that command, click parses it, and it runs.

What needs a network, a cluster, a served model or minutes is parsed alone; all others run, in the order in
which a reader would.
"""

from __future__ import annotations

import re
import shlex
import zipfile
from pathlib import Path

import click
import pytest

from aiopt.featurelog import FeatureLog
from aiopt.strategy.families import FAMILIES
from aiopt.testing.bars import random_walk_bar_set, write_bar_file
from aiopt.testing.run_folder import RunModel, write_run_folder
from cluster.cli import main
from docs.generate_cli import commands, root

FOUND = {" ".join(path): (command, context) for path, command, context in commands(main.cli, root())}
LEAVES = [name for name, (command, _) in FOUND.items() if not isinstance(command, click.Group)]

NOT_RUN = {
    "a network": ("ticks download",),
    "a cluster": ("optimize", "serve", "model", "cluster"),
    "a served model": ("analyst",),
    "many seconds for each Pine script": ("pine",),
    "a whole month of ticks": ("ticks sample",),
    "bars that the trials of a run were computed on": ("trials rerun",),
}
"""What a command's example would need, and which commands do."""

LEFT_OUT = tuple(name for names in NOT_RUN.values() for name in names)
RUN = [name for name in LEAVES if not any(f"{name} ".startswith(f"{one} ") for one in LEFT_OUT)]


def example(name: str) -> str:
    """Return a command's example."""
    epilog = FOUND[name][0].epilog or ""
    assert epilog.startswith("Example: "), f"`aiopt {name} --help` shows no example"
    return epilog.removeprefix("Example: ")


def words_of(line: str) -> list[str]:
    """Return the arguments of the call of aiopt in a shell line."""
    line = re.sub(r'^.*"\$\(aiopt ([^)]*)\)".*$', r"aiopt \1", line).partition(" > ")[0]
    words = shlex.split(line)
    assert words[0] == "aiopt", line
    return words[1:]


@pytest.fixture
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in an empty folder: paths in an example are judged when it is parsed."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", FOUND, ids=lambda name: name.replace(" ", "_"))
def test_every_command_has_an_example_that_click_parses(name: str, empty: Path) -> None:
    words = words_of(example(name))
    command, context, path = main.cli, root(), []
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        path.append(words.pop(0))
        below = command.get_command(context, path[-1])
        assert below is not None, f"`aiopt {name} --help`: no command {' '.join(path)}"
        context = click.Context(below, info_name=path[-1], parent=context)
        command = below
    if isinstance(FOUND[name][0], click.Group):
        assert " ".join(path).startswith(name), f"the example of `aiopt {name}` is one of another command"
    else:
        assert " ".join(path) == name
    # Types, choices, ranges and options that must be there; the command itself is not called.
    command.make_context(path[-1], words, parent=context.parent)
    assert list(empty.iterdir()) == []


def test_the_check_itself_sees_a_wrong_example(empty: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command, _ = FOUND["runs list"]
    for wrong, error in (
        ("Example: aiopt runs list --colour", click.NoSuchOption),
        ("Example: aiopt runs show runs/x", AssertionError),
        (None, AssertionError),
    ):
        monkeypatch.setattr(command, "epilog", wrong)
        with pytest.raises(error):
            test_every_command_has_an_example_that_click_parses("runs list", empty)


def test_what_is_not_run_exists() -> None:
    assert set(LEFT_OUT) <= FOUND.keys()
    assert len(RUN) >= 28


def _histdata(path: Path) -> None:
    """Write minute bars as HistData's zip has them: one bid price, Eastern Standard Time all year."""
    rows = [
        f"201801{day:02} {hour:02}{minute:02}00;1.20000;1.20010;1.19990;1.20005;0"
        for day in (2, 3)
        for hour in range(24)
        for minute in range(60)
    ]
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("DAT_ASCII_EURUSD_M1_2018.csv", "\r\n".join(rows) + "\r\n")


def _tick_file(path: Path) -> None:
    path.parent.mkdir(parents=True)
    rows = [
        f"2024-03-{day:02} {hour:02}:{minute:02}:{second:02}.{minute:03},"
        f"1.{10_000 + minute * second % 7},{1.1002 + minute * second % 7 * 1e-5:.5f}"
        for day in range(4, 8)
        for hour in range(24)
        for minute in range(60)
        for second in range(3, 60, 13)
    ]
    path.write_text("timestamp,bid,ask\n" + "\n".join(rows) + "\n")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working directory with what the examples read."""
    place = tmp_path_factory.mktemp("place")
    _histdata(place / "HISTDATA_COM_ASCII_EURUSD_M12018.zip")
    _tick_file(place / "downloads" / "EURUSD" / "ticks.csv")
    bars = random_walk_bar_set(3_000, seed=5)
    for side in ("bid", "ask"):
        write_bar_file(getattr(bars, side), place / "data" / "bars" / "EURUSD" / "5m" / f"{side}.parquet")
    model = RunModel(families=("rsi_reversion", "ema_cross_atr"), timeframes=("5m",), trials=14, days=21)
    write_run_folder(place / "runs" / "eurusd-default", model)
    for stream in ("signals", "features"):
        with FeatureLog(place / "data" / "logs") as log:
            log.append(stream, {"ts_ns": 1_700_000_000_000_000_000, "value": 0.5})
    (place / "my_strategy.yaml").write_text(FAMILIES["rsi_reversion"].spec.to_json())
    return place


def test_the_examples_run(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In one test: what one example writes, another reads."""
    monkeypatch.chdir(place)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    for before, commission in (("before.json", "35"), ("after.json", "0")):
        arguments = ["backtest", "rsi_reversion", "--bars", "data/bars/EURUSD/5m", "--out", before]
        assert main.run([*arguments, "--commission", commission]) == 0
    for name in RUN:
        capsys.readouterr()
        code = main.run(words_of(example(name)))
        assert code == 0, f"{example(name)}: exit code {code}, {capsys.readouterr().err}"
