"""The example in every command's --help: there is one, it is of that command, and click parses it.

`tests/unit/cli/test_examples_run.py` runs those that need neither network nor cluster.
"""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest

from cluster.cli import main
from docs.generate_cli import commands, root

FOUND = {" ".join(path): (command, context) for path, command, context in commands(main.cli, root())}


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
